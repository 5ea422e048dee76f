"""Pictures with some of their captions, for contrastive training."""

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
    """A picture, perhaps turned or mirrored, and some of its captions drawn at random.

    Captions come from the dict's ``captions`` (a list of texts) or, for the Shapes world, from the
    picture's name.
    """

    def __init__(
        self, *, num_captions: int = 1, turns: bool = False, image_format: str = "RGB"
    ) -> None:
        """Describe the augmentation.

        Args:
            num_captions: captions drawn; a picture that has fewer repeats some.
            turns: mirror images and quarter turns, for worlds without an up.
            image_format: RGB or BGR, the order of the channels handed on.

        Raises:
            ValueError: no captions asked for.
        """
        if num_captions < 1:
            raise ValueError(f"num_captions={num_captions}; give at least 1")
        self._num_captions = num_captions
        self._turns = turns
        self._image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "CaptionMapper":
        """Read ``INPUT.CAPTIONS_PER_IMAGE``, ``INPUT.TURNS`` and ``INPUT.FORMAT``."""
        return cls(
            num_captions=cfg.INPUT.CAPTIONS_PER_IMAGE,
            turns=cfg.INPUT.TURNS,
            image_format=cfg.INPUT.FORMAT,
        )

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: one entry of a dataset.
            draw: where the sample lies in the stream; all randomness comes from it.

        Returns:
            The dict with ``image`` (3, H, W) uint8 and ``drawn_captions``, a tuple of texts; None,
            after a warning, for a picture that cannot be read.

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
        # All different ones first, in random order, then again where more are asked for.
        rounds = -(-self._num_captions // len(captions))
        order = np.concatenate([rng.permutation(len(captions)) for _ in range(rounds)])
        drawn = tuple(captions[i] for i in order[: self._num_captions])
        if self._turns:
            turn = int(rng.integers(8))
            image = np.rot90(image, turn % 4)
            image = image[:, ::-1] if turn >= 4 else image
        if self._image_format == "BGR":
            image = image[:, :, ::-1]
        return {**dataset_dict, "image": image_tensor(image), "drawn_captions": drawn}
