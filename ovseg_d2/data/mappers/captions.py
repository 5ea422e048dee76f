"""Images with some of their captions, for contrastive training."""

import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ...d2.config import CfgNode
from .. import shapes
from ..arrays import check_image_format, image_tensor, order_channels
from ..images import ImageReadError
from ..readers import read_captions, read_image_of
from ..sampler import Draw, sample_rng
from ..views import draw_part
from .geometry import check_area, flipped_axis

__all__ = ["CaptionMapper"]

_logger = logging.getLogger(__name__)


class CaptionMapper:
    """Maps an entry to an image or a random part of it, and random captions.

    Captions are the dict's ``captions`` (a list of texts) or, for the Shapes world, follow from the
    image's name.
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
        """Check the options.

        Args:
            num_captions: number of drawn captions; with fewer captions some are repeated.
            num_negatives: most wrong captions made of a drawn one, for the Shapes world only.
            flip: "horizontal" or "vertical" flips half of the images, "none" none.
            crop_size: (h, w) in pixels to which a random part of the image is resized; () keeps
                the whole image.
            crop_area: least and greatest area of the part, as shares of the image's.
            image_format: RGB or BGR, the channel order of the result.

        Raises:
            ValueError: an option out of its range.
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
                "pixels, or to [] to keep whole images"
            )
        self._crop_size = tuple(crop_size)
        self._crop_area = check_area("INPUT.CAPTION_CROP.AREA", crop_area)
        self._flipped_axis = flipped_axis(flip)
        self._image_format = check_image_format(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "CaptionMapper":
        """Read the ``INPUT`` keys of captions, crops, flips and format."""
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
            dataset_dict: an entry of a dataset.
            draw: position in the stream, the source of all randomness.

        Returns:
            The dict with ``image`` (3, H, W) uint8, and ``drawn_captions`` and ``wrong_captions``,
            tuples of texts; None, after a warning, for an image that cannot be read.

        Raises:
            ValueError: the entry has no list of captions.
        """
        name = dataset_dict["file_name"]
        try:
            image = read_image_of(name)
        except ImageReadError as error:
            _logger.warning("%s: left out of training", error)
            return None
        captions = read_captions(dataset_dict)
        rng = sample_rng(draw)
        # Random permutations one after the other: a caption repeats after all others.
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
    """Resize (H, W, 3) uint8 to (h, w), by areas if it shrinks."""
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=method)
