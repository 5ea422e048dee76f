"""Pictures with unlabelled masks, seen twice: by a teacher and by its student."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...config import mask_options
from ...d2.config import CfgNode
from ...d2.data.transforms import (
    AugInput,
    Augmentation,
    AugmentationList,
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    ResizeTransform,
    Transform,
    VFlipTransform,
)
from ...masks import (
    CachedMasks,
    MaskFileError,
    MaskSource,
    build_mask_source,
    nearest_pixels,
    read_masks,
)
from ..images import ImageReadError
from ..masks import RegionsOrMasks
from ..readers import read_picture
from ..sampler import Draw, numpy_seeded, sample_rng
from ..views import StrongView, distort_colors
from .geometry import geometry_from_config
from .test import check_image_format, image_tensor, order_channels

__all__ = ["MaskMapper", "transform_masks"]

_logger = logging.getLogger(__name__)


class MaskMapper:
    """A crop of a picture in two views, and the masks of what both show.

    Both views share resizing, crop and mirroring. The weak one may have its colours distorted; the
    strong one is made of it by `StrongView`, whose cut-out belongs to no mask.
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
        """Describe masks and augmentation.

        Args:
            source: gives the masks of a picture; None reads the file that the dict's
                ``masks_file_name`` names, and so does `RegionsOrMasks` where there is one.
            strong: draws the student's view; None leaves it as the teacher's.
            distort_weak: distort the colours of the teacher's view, hence of both.
            max_masks: most masks of a sample, drawn at random where there are more; 0 keeps all.
            geometry: detectron2's augmentations that resize, crop and flip, in this order.
            image_format: RGB or BGR, the order of the channels handed on.

        Raises:
            ValueError: less than no masks, or another format.
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
            dataset_dict: one entry of a dataset.
            draw: where the sample lies in the stream; all randomness comes from it.

        Returns:
            The dict with ``image`` (3, H, W) uint8, the student's view, ``teacher_image`` likewise,
            and ``masks`` (Q, H, W) bool, none of them empty, Q possibly 0; None, after a warning,
            where picture or masks cannot be read.

        Raises:
            ValueError: the entry has no ``masks_file_name`` and there is no other source.
        """
        try:
            image = read_picture(dataset_dict["file_name"])
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
        has_own = "masks_file_name" in dataset_dict and isinstance(self._source, RegionsOrMasks)
        if self._source is not None and not has_own:
            return self._source(image, name)
        if "masks_file_name" not in dataset_dict:
            raise ValueError(
                f"{name}: its entry has no 'masks_file_name'; add it to the dataset's dicts, or "
                "set INPUT.MASKS.FOLDER, or another INPUT.MASKS.SOURCE"
            )
        return read_masks(dataset_dict["masks_file_name"], image.shape[:2])


def transform_masks(masks: np.ndarray, transforms: Sequence[Transform]) -> np.ndarray:
    """Resize, crop and flip masks or label maps, taking the nearest pixel.

    Args:
        masks: (Q, H, W) bool, or of another type.
        transforms: of detectron2, as an augmentation has drawn them.

    Returns:
        (Q, h, w) of the same type, of its own memory, contiguous.

    Raises:
        TypeError: a transform of another kind.
    """
    rows, columns = np.arange(masks.shape[1]), np.arange(masks.shape[2])
    for transform in transforms:
        if isinstance(transform, ResizeTransform):
            rows = rows[nearest_pixels(len(rows), transform.new_h)]
            columns = columns[nearest_pixels(len(columns), transform.new_w)]
        elif isinstance(transform, CropTransform):
            rows = rows[transform.y0 : transform.y0 + transform.h]
            columns = columns[transform.x0 : transform.x0 + transform.w]
        elif isinstance(transform, HFlipTransform):
            columns = columns[::-1]
        elif isinstance(transform, VFlipTransform):
            rows = rows[::-1]
        elif not isinstance(transform, NoOpTransform):
            raise TypeError(
                f"masks do not go through {type(transform).__name__}; resize, crop or flip them"
            )
    return np.ascontiguousarray(masks[:, rows[:, None], columns])


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
