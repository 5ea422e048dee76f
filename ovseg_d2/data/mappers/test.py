"""Images for inference."""

from typing import Any, Literal

import cv2
import numpy as np

from ...d2.config import CfgNode
from ...d2.data.transforms import ResizeShortestEdge, ResizeTransform
from ..arrays import check_image_format, image_tensor, order_channels
from ..corruptions import corrupt, corruption_rng
from ..readers import read_image_of

__all__ = ["TestMapper"]


class TestMapper:
    """Reads and resizes an image, without randomness except a reproducible corruption.

    The result has ``height`` and ``width`` of the file, the size of predictions.
    """

    __test__ = False  # tells pytest that this is no test case

    def __init__(
        self,
        *,
        min_size: int,
        max_size: int,
        image_format: str = "RGB",
        resize: Literal["pillow", "opencv"] = "pillow",
        corruption: str = "",
        level: int = 0,
        fixed_lengths: bool = False,
        seed: int = 0,
    ) -> None:
        """Check the options.

        Args:
            min_size: pixels of the shorter side; 0 keeps the size.
            max_size: most pixels of the longer side.
            image_format: RGB or BGR, the channel order of the result.
            resize: the library whose bilinear resizing is taken, see ``INPUT.RESIZE_TEST``.
            corruption: corruption of every image before its resizing; one of
                :data:`~..corruptions.CORRUPTIONS`, or "" for none.
            level: of the corruption, 1 to 5, or 0 for none.
            fixed_lengths: see :func:`~..corruptions.corrupt`.
            seed: of the corruption.

        Raises:
            ValueError: another format, or an unknown corruption or level.
        """
        if corruption:  # checks name and level
            corrupt(np.zeros((1, 1, 3), np.uint8), corruption, level, np.random.default_rng(0))
        self._corruption, self._level, self._seed = corruption, level, seed
        self._fixed_lengths = fixed_lengths
        self._resize = ResizeShortestEdge([min_size, min_size], max_size)
        self._with_opencv = resize == "opencv"
        self._image_format = check_image_format(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "TestMapper":
        """Read the ``INPUT`` keys of test sizes, format and corruption, and ``SEED``."""
        return cls(
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            image_format=cfg.INPUT.FORMAT,
            resize=cfg.INPUT.RESIZE_TEST,
            corruption=cfg.INPUT.CORRUPTION.NAME,
            level=cfg.INPUT.CORRUPTION.LEVEL,
            fixed_lengths=cfg.INPUT.CORRUPTION.FIXED_LENGTHS,
            seed=max(cfg.SEED, 0),
        )

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Add ``image`` (3, h, w) uint8, ``height`` and ``width`` to a copy of a dataset dict."""
        return {**dataset_dict, **self.read(dataset_dict["file_name"])}

    def read(self, file_name: str) -> dict[str, Any]:
        """Read ``image``, ``height`` and ``width`` of a file or ``shapes://`` name."""
        image = read_image_of(file_name)
        if self._corruption:
            rng = corruption_rng(file_name, self._corruption, self._seed)
            image = corrupt(
                image, self._corruption, self._level, rng, fixed_lengths=self._fixed_lengths
            )
        return self.prepare(image)

    def prepare(self, image: np.ndarray) -> dict[str, Any]:
        """Make ``image``, ``height`` and ``width`` of an (H, W, 3) uint8 RGB array."""
        height, width = image.shape[:2]
        resize = self._resize.get_transform(image)
        if isinstance(resize, ResizeTransform) and 0 in (resize.new_h, resize.new_w):
            # The image is so long and thin that the shorter side would vanish.
            resize = ResizeTransform(height, width, max(resize.new_h, 1), max(resize.new_w, 1))
        if self._with_opencv and isinstance(resize, ResizeTransform):
            size = (resize.new_w, resize.new_h)
            image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)
        else:
            image = resize.apply_image(image)
        resized = order_channels(image, self._image_format)
        return {"image": image_tensor(resized), "height": height, "width": width}
