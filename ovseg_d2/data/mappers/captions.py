"""Pictures with one of their captions, for contrastive training."""

import logging
from typing import Any

import numpy as np

from ...d2.config import CfgNode
from .. import shapes
from ..images import ImageReadError
from ..readers import read_picture
from ..sampler import Draw, sample_rng
from .test import image_tensor

__all__ = ["CaptionMapper"]

_logger = logging.getLogger(__name__)


class CaptionMapper:
    """A picture, perhaps turned or mirrored, and one of its captions drawn at random.

    Captions come from the dict's ``captions`` (a list of texts) or, for the Shapes world, from the
    picture's name.
    """

    def __init__(self, *, turns: bool = False, image_format: str = "RGB") -> None:
        """Describe the augmentation.

        Args:
            turns: mirror images and quarter turns, for worlds without an up.
            image_format: RGB or BGR, the order of the channels handed on.
        """
        self._turns = turns
        self._image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "CaptionMapper":
        """Read ``INPUT.TURNS`` and ``INPUT.FORMAT``."""
        return cls(turns=cfg.INPUT.TURNS, image_format=cfg.INPUT.FORMAT)

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: one entry of a dataset.
            draw: where the sample lies in the stream; all randomness comes from it.

        Returns:
            The dict with ``image`` (3, H, W) uint8 and ``caption``; None, after a warning, for a
            picture that cannot be read.

        Raises:
            ValueError: the entry has no caption.
        """
        name = dataset_dict["file_name"]
        try:
            image = read_picture(name)
        except ImageReadError as error:
            _logger.warning("%s: left out of training", error)
            return None
        captions = dataset_dict.get("captions")
        if captions is None and shapes.is_shapes_name(name):
            captions = shapes.read_captions(name)
        if not captions:
            raise ValueError(f"{name}: no captions; add a list of texts under 'captions'")
        rng = sample_rng(draw)
        caption = captions[int(rng.integers(len(captions)))]
        if self._turns:
            turn = int(rng.integers(8))
            image = np.rot90(image, turn % 4)
            image = image[:, ::-1] if turn >= 4 else image
        if self._image_format == "BGR":
            image = image[:, :, ::-1]
        return {**dataset_dict, "image": image_tensor(image), "caption": caption}
