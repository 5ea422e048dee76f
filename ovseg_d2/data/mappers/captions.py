"""Pictures with some of their captions, for contrastive training."""

import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ...d2.config import CfgNode
from .. import shapes
from ..images import ImageReadError
from ..readers import read_captions, read_picture
from ..sampler import Draw, sample_rng
from ..views import draw_part
from .test import check_image_format, image_tensor, order_channels

__all__ = ["FLIPPED_AXIS", "CaptionMapper", "check_flip"]

_logger = logging.getLogger(__name__)
# Ways to mirror a picture, and the axis of (H, W) each turns round.
FLIPPED_AXIS = {"none": None, "horizontal": 1, "vertical": 0}


def check_flip(flip: str) -> str:
    """A way to mirror pictures, as it came.

    Raises:
        ValueError: it is none of `FLIPPED_AXIS`.
    """
    if flip not in FLIPPED_AXIS:
        raise ValueError(
            f"flip={flip!r}; set INPUT.RANDOM_FLIP to one of {', '.join(FLIPPED_AXIS)}"
        )
    return flip


class CaptionMapper:
    """A picture, or a part of it, perhaps mirrored, and some of its captions drawn at random.

    Captions come from the dict's ``captions`` (a list of texts) or, for the Shapes world, from the
    picture's name.
    """

    def __init__(
        self,
        *,
        num_captions: int = 1,
        num_negatives: int = 0,
        flip: str = "none",
        crop_size: Sequence[int] = (),
        crop_area: Sequence[float] = (0.5, 1.0),
        image_format: str = "RGB",
    ) -> None:
        """Describe the augmentation.

        Args:
            num_captions: captions drawn; a picture that has fewer repeats some.
            num_negatives: wrong captions made of each drawn one, at most; pictures of the Shapes
                world only.
            flip: "horizontal" or "vertical" mirrors half of the pictures, "none" leaves them.
            crop_size: (h, w) in pixels that a part of each picture, drawn at random, is resized to;
                () leaves pictures as they are.
            crop_area: least and greatest share of the picture that the part is.
            image_format: RGB or BGR, the order of the channels handed on.

        Raises:
            ValueError: numbers of captions below their least, another way to flip, a size or share
                that is none, or another format.
        """
        if num_captions < 1:
            raise ValueError(
                f"num_captions={num_captions}; set INPUT.CAPTIONS_PER_IMAGE to at least 1"
            )
        if num_negatives < 0:
            raise ValueError(
                f"num_negatives={num_negatives}; set INPUT.NEGATIVES_PER_CAPTION to 0 or more"
            )
        self._num_captions = num_captions
        self._num_negatives = num_negatives
        if len(crop_size) not in (0, 2) or any(side < 1 for side in crop_size):
            raise ValueError(
                f"crop_size={list(crop_size)}; set INPUT.CAPTION_CROP.SIZE to height and width in "
                "pixels, or to [] to leave pictures as they are"
            )
        if len(crop_area) != 2 or not 0 < crop_area[0] <= crop_area[1] <= 1:
            raise ValueError(
                f"crop_area={list(crop_area)}; set INPUT.CAPTION_CROP.AREA to two shares above 0 "
                "and up to 1, the smaller one first"
            )
        self._crop_size = tuple(crop_size)
        self._crop_area = (float(crop_area[0]), float(crop_area[1]))
        self._flipped_axis = FLIPPED_AXIS[check_flip(flip)]
        self._image_format = check_image_format(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "CaptionMapper":
        """Read the ``INPUT`` keys of captions, crops, mirroring and format."""
        return cls(
            num_captions=cfg.INPUT.CAPTIONS_PER_IMAGE,
            num_negatives=cfg.INPUT.NEGATIVES_PER_CAPTION,
            flip=cfg.INPUT.RANDOM_FLIP,
            crop_size=cfg.INPUT.CAPTION_CROP.SIZE,
            crop_area=cfg.INPUT.CAPTION_CROP.AREA,
            image_format=cfg.INPUT.FORMAT,
        )

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: one entry of a dataset.
            draw: where the sample lies in the stream; all randomness comes from it.

        Returns:
            The dict with ``image`` (3, H, W) uint8, and ``drawn_captions`` and ``wrong_captions``,
            tuples of texts; None, after a warning, for a picture that cannot be read.

        Raises:
            ValueError: the entry has no list of captions.
        """
        name = dataset_dict["file_name"]
        try:
            image = read_picture(name)
        except ImageReadError as error:
            _logger.warning("%s: left out of training", error)
            return None
        captions = read_captions(dataset_dict)
        rng = sample_rng(draw)
        # All different ones first, in random order, then again where more are asked for.
        rounds = -(-self._num_captions // len(captions))
        order = np.concatenate([rng.permutation(len(captions)) for _ in range(rounds)])
        drawn = tuple(captions[i] for i in order[: self._num_captions])
        if self._crop_size:
            left, top, right, bottom = draw_part(image.shape[:2], self._crop_area, rng)
            image = _resize(image[top:bottom, left:right], self._crop_size)
        if self._flipped_axis is not None and rng.random() < 0.5:
            image = np.flip(image, self._flipped_axis)
        wrong = {
            text
            for caption in drawn
            for text in shapes.write_negatives(caption, captions, rng, self._num_negatives)
        }
        image = order_channels(image, self._image_format)
        return {
            **dataset_dict,
            "image": image_tensor(image),
            "drawn_captions": drawn,
            "wrong_captions": tuple(sorted(wrong)),
        }


def _resize(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W, 3) uint8 resized to (h, w), with every pixel counted where it shrinks."""
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=way)
