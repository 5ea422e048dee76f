"""Pictures for inference."""

from typing import Any

import numpy as np
import torch

from ...d2.config import CfgNode
from ...d2.data.transforms import ResizeShortestEdge, ResizeTransform
from ..corruptions import corrupt, corruption_rng
from ..readers import read_picture

__all__ = ["TestMapper", "check_image_format", "image_tensor", "order_channels"]


def check_image_format(image_format: str) -> str:
    """An order of channels that models may ask for, as it came.

    Raises:
        ValueError: it is neither RGB nor BGR.
    """
    if image_format not in ("RGB", "BGR"):
        raise ValueError(f"INPUT.FORMAT {image_format!r} is not one of RGB, BGR")
    return image_format


def order_channels(image: np.ndarray, image_format: str) -> np.ndarray:
    """(H, W, 3) RGB in the order that ``image_format`` names."""
    return image[:, :, ::-1] if image_format == "BGR" else image


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 array -> (3, H, W) uint8 tensor of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())


class TestMapper:
    """Read and resize a picture; nothing is random but a corruption, the same in every run.

    The result keeps ``height`` and ``width`` of the file, so that models answer at that size.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(
        self,
        *,
        min_size: int,
        max_size: int,
        image_format: str = "RGB",
        corruption: str = "",
        level: int = 0,
        seed: int = 0,
    ) -> None:
        """Describe size and corruption.

        Args:
            min_size: pixels of the shorter side; 0 keeps the size.
            max_size: most pixels of the longer side.
            image_format: RGB or BGR, the order of the channels handed on.
            corruption: done to every picture that is read, before its resizing; one of
                :data:`~..corruptions.CORRUPTIONS`, or "" for none.
            level: of the corruption, 1 to 5, or 0 for none.
            seed: of the corruption.

        Raises:
            ValueError: another format, or no such corruption or level.
        """
        if corruption:  # what is wrong with it shall be said before any picture is read
            corrupt(np.zeros((1, 1, 3), np.uint8), corruption, level, np.random.default_rng(0))
        self._corruption, self._level, self._seed = corruption, level, seed
        self._resize = ResizeShortestEdge([min_size, min_size], max_size)
        self._image_format = check_image_format(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "TestMapper":
        """Read the ``INPUT`` keys of test sizes, format and corruption, and ``SEED``."""
        return cls(
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            image_format=cfg.INPUT.FORMAT,
            corruption=cfg.INPUT.CORRUPTION.NAME,
            level=cfg.INPUT.CORRUPTION.LEVEL,
            seed=max(cfg.SEED, 0),
        )

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Add ``image`` (3, h, w) uint8, ``height`` and ``width`` to a copy of a dataset dict."""
        return {**dataset_dict, **self.read(dataset_dict["file_name"])}

    def read(self, file_name: str) -> dict[str, Any]:
        """The entries that come from the picture itself."""
        image = read_picture(file_name)
        if self._corruption:
            rng = corruption_rng(file_name, self._corruption, self._seed)
            image = corrupt(image, self._corruption, self._level, rng)
        return self.prepare(image)

    def prepare(self, image: np.ndarray) -> dict[str, Any]:
        """The same for an (H, W, 3) uint8 RGB array."""
        height, width = image.shape[:2]
        resize = self._resize.get_transform(image)
        if isinstance(resize, ResizeTransform) and 0 in (resize.new_h, resize.new_w):
            # So long and thin that the shorter side would vanish.
            resize = ResizeTransform(height, width, max(resize.new_h, 1), max(resize.new_w, 1))
        resized = order_channels(resize.apply_image(image), self._image_format)
        return {"image": image_tensor(resized), "height": height, "width": width}
