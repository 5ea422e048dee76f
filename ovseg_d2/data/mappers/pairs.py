"""Mask-category pairs as crops around their masks, for MaskAdaptedCLIP."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...d2.config import CfgNode
from ...masks import MaskPair
from ...ops import CropOptions, expand_boxes, mask_boxes
from ..arrays import check_image_format, image_tensor, order_channels
from ..readers import LabelFileError, read_image_of
from ..sampler import Draw, sample_rng
from ..views import draw_part
from .geometry import check_area, flipped_axis
from .label_pairs import LabelPairs

__all__ = ["PairMapper"]

_logger = logging.getLogger(__name__)


class PairMapper:
    """Maps a pair to a crop of its image, the box of its mask or a random part of that.

    The crop keeps its background; the model fills it.

    Source: [ovseg] Sec. 3.2 for the crops; the official code augments them by parts of 0.9 to 1 of
    their area, without flips.
    """

    def __init__(
        self,
        *,
        expand_ratio: float = 1.0,
        part_area: Sequence[float] = (0.9, 1.0),
        flip: str = "none",
        image_format: str = "RGB",
    ) -> None:
        """Check the options.

        Args:
            expand_ratio: scale of a mask's tight box about its centre, at least 1.
            part_area: least and greatest area of the part, as shares of the crop's; (1, 1) keeps
                the whole crop.
            flip: "horizontal" or "vertical" flips half of the crops, "none" none.
            image_format: RGB or BGR, the channel order of the result.

        Raises:
            ValueError: an option out of its range.
        """
        self._expand_ratio = CropOptions(expand_ratio=expand_ratio).expand_ratio
        self._part_area = check_area("INPUT.PAIRS.PART_AREA", part_area)
        self._flipped_axis = flipped_axis(flip)
        self._image_format = check_image_format(image_format)
        self._label_pairs = LabelPairs()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "PairMapper":
        """Read ``INPUT.PAIRS``, and the ``INPUT`` keys of flips and format."""
        return cls(
            expand_ratio=cfg.INPUT.PAIRS.EXPAND_RATIO,
            part_area=cfg.INPUT.PAIRS.PART_AREA,
            flip=cfg.INPUT.RANDOM_FLIP,
            image_format=cfg.INPUT.FORMAT,
        )

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: an entry of a dataset of pairs, or of a labelled dataset.
            draw: position in the stream, the source of all randomness.

        Returns:
            ``file_name``; ``image`` (3, h, w) uint8, the crop; ``mask`` (h, w) bool, never empty;
            and ``noun``. None, after a warning, if the image cannot be read or the mask does not
            fit it.

        Raises:
            ValueError: the entry has neither a ``pair`` nor labels for `LabelPairs`.
        """
        pair = dataset_dict.get("pair")
        try:
            if not isinstance(pair, MaskPair):
                pair = self._label_pairs.draw(dataset_dict, draw)
        except LabelFileError as error:
            _logger.warning("%s: left out of training", error)
            return None
        try:
            image = read_image_of(pair.image)
            mask = pair.decode((image.shape[0], image.shape[1]))
        except ValueError as error:  # an ImageReadError, or the mask's
            _logger.warning("%s: left out of training", error)
            return None
        rng = sample_rng(draw)
        image, mask = self._cut(image, mask, rng)
        if self._flipped_axis is not None and rng.random() < 0.5:
            image, mask = np.flip(image, self._flipped_axis), np.flip(mask, self._flipped_axis)
        return {
            "file_name": pair.image,
            "image": image_tensor(order_channels(image, self._image_format)),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "noun": pair.noun,
        }

    def _cut(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        size = (mask.shape[0], mask.shape[1])
        boxes = mask_boxes(torch.from_numpy(mask)[None])
        x0, y0, x1, y1 = expand_boxes(boxes, self._expand_ratio, size)[0].tolist()
        image, mask = image[y0:y1, x0:x1], mask[y0:y1, x0:x1]
        left, top, right, bottom = draw_part((mask.shape[0], mask.shape[1]), self._part_area, rng)
        part = mask[top:bottom, left:right]
        # The part may miss a thin mask.
        return (image[top:bottom, left:right], part) if part.any() else (image, mask)
