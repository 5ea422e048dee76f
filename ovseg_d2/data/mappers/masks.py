"""Images with unlabelled masks, in two views: for a teacher and for its student."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...config import mask_options
from ...d2.config import CfgNode
from ...d2.data.transforms import AugInput, Augmentation, AugmentationList
from ...masks import (
    CachedMasks,
    MaskFileError,
    MaskSource,
    build_mask_source,
    read_masks,
)
from ..arrays import check_image_format, image_tensor, order_channels
from ..images import ImageReadError
from ..masks import RegionsOrMasks
from ..readers import read_image_of
from ..sampler import Draw, numpy_seeded, sample_rng
from ..views import StrongView, distort_colors
from .geometry import geometry_from_config, transform_masks

__all__ = ["MaskMapper"]

_logger = logging.getLogger(__name__)


class MaskMapper:
    """Maps an entry to two views of a crop and the masks in it.

    Both views share resizing, crop and flip. The weak one may have distorted colours; `StrongView`
    makes the strong one from it, and its cut-out belongs to no mask.
    """

    def __init__(
        self,
        *,
        source: MaskSource | None = None,
        strong: StrongView | None = None,
        distort_weak: bool = True,
        max_masks: int = 0,
        geometry: Sequence[Augmentation] = (),
        image_format: str = "RGB",
    ) -> None:
        """Check the options.

        Args:
            source: makes the masks of an image; None reads the file ``masks_file_name`` of the
                dict, and `RegionsOrMasks` is not used for a dict with such a file.
            strong: draws the student's view; None uses the teacher's view for both.
            distort_weak: distort the colours of the teacher's view, hence of both.
            max_masks: most masks of a sample, drawn at random from more; 0 keeps all.
            geometry: detectron2's augmentations that resize, crop and flip, in this order.
            image_format: RGB or BGR, the channel order of the result.

        Raises:
            ValueError: a negative number of masks, or another format.
        """
        if max_masks < 0:
            raise ValueError(f"max_masks={max_masks}; set INPUT.MASKS_PER_IMAGE to 0 or more")
        self._source = source
        self._strong = strong
        self._distort_weak = distort_weak
        self._max_masks = max_masks
        self._geometry = list(geometry)
        self._image_format = check_image_format(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "MaskMapper":
        """Read the ``INPUT`` keys of masks, views, format, resizing, cropping and flipping."""
        views = cfg.INPUT.VIEWS
        strong = StrongView(
            jitter=tuple(views.JITTER),
            jitter_prob=views.JITTER_PROB,
            grey_prob=views.GREY_PROB,
            blur_prob=views.BLUR_PROB,
            blur_sigma=tuple(views.BLUR_SIGMA),
            cutout=tuple(views.CUTOUT),
        )
        return cls(
            source=_source_from_config(cfg),
            strong=strong,
            distort_weak=views.DISTORT_WEAK,
            max_masks=cfg.INPUT.MASKS_PER_IMAGE,
            geometry=geometry_from_config(cfg),
            image_format=cfg.INPUT.FORMAT,
        )

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: an entry of a dataset.
            draw: position in the stream, the source of all randomness.

        Returns:
            The dict with ``image``, the student's view, and ``teacher_image``, both (3, H, W)
            uint8, and ``masks`` (Q, H, W) bool, none of them empty, Q possibly 0; None, after a
            warning, if image or masks cannot be read.

        Raises:
            ValueError: the entry has no ``masks_file_name`` and there is no other source.
        """
        try:
            image = read_image_of(dataset_dict["file_name"])
            masks = self._masks_of(dataset_dict, image)
        except (ImageReadError, MaskFileError) as error:
            _logger.warning("%s: left out of training", error)
            return None
        rng = sample_rng(draw)
        inputs = AugInput(image)
        with numpy_seeded(draw):
            transforms = AugmentationList(self._geometry)(inputs).transforms
        masks = transform_masks(masks, transforms)
        weak = distort_colors(inputs.image, rng) if self._distort_weak else inputs.image
        strong = weak
        if self._strong is not None:
            strong, (left, top, right, bottom) = self._strong.draw(weak, rng)
            masks[:, top:bottom, left:right] = False
        masks = masks[masks.any(axis=(1, 2))]
        if 0 < self._max_masks < len(masks):
            masks = masks[np.sort(rng.permutation(len(masks))[: self._max_masks])]
        return {
            **dataset_dict,
            "image": image_tensor(order_channels(strong, self._image_format)),
            "teacher_image": image_tensor(order_channels(weak, self._image_format)),
            "masks": torch.from_numpy(masks),
        }

    def _masks_of(self, dataset_dict: dict[str, Any], image: np.ndarray) -> np.ndarray:
        name = dataset_dict["file_name"]
        has_file = "masks_file_name" in dataset_dict
        if self._source is not None and not (has_file and isinstance(self._source, RegionsOrMasks)):
            return self._source(image, name)
        if not has_file:
            raise ValueError(
                f"{name}: its entry has no 'masks_file_name'; add it to the dataset's dicts, or "
                "set INPUT.MASKS.FOLDER, or another INPUT.MASKS.SOURCE"
            )
        return read_masks(dataset_dict["masks_file_name"], image.shape[:2])


def _source_from_config(cfg: CfgNode) -> MaskSource | None:
    masks = cfg.INPUT.MASKS
    if masks.SOURCE == "stored":
        if not masks.FOLDER:
            return None
        return build_mask_source("stored", **mask_options(cfg, "stored"))
    name = "felzenszwalb" if masks.SOURCE == "shapes" else masks.SOURCE
    source = build_mask_source(name, **mask_options(cfg, name))
    if masks.CACHE_MB > 0:
        source = CachedMasks(source, masks.CACHE_MB * 2**20)
    return RegionsOrMasks(source, name) if masks.SOURCE == "shapes" else source
