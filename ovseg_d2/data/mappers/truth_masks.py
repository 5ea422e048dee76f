"""Pictures for inference with the masks of their labels."""

from typing import Any

import numpy as np
import torch

from ...masks import masks_of_labels, nearest_pixels
from ...ops import size_remedy
from ..labels import LabelReader
from .test import TestMapper

__all__ = ["TruthMaskMapper"]


class TruthMaskMapper(TestMapper):
    """A picture, a mask for each class that its labels hold, and which class that is."""

    def __init__(self, **options: Any) -> None:
        """Take the options of `TestMapper`."""
        super().__init__(**options)
        self._read_labels = LabelReader(strict=False)

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Add what :class:`TestMapper` adds, and the masks.

        Args:
            dataset_dict: with ``sem_seg_file_name`` and ``dataset_name``.

        Returns:
            The dict with also ``masks`` (Q, h, w) bool of the resized picture, none of them empty,
            and ``mask_class_ids`` (Q,) int64, rising.

        Raises:
            ValueError: labels of another size than their picture, or see `LabelReader`.
        """
        sample = super().__call__(dataset_dict)
        name = dataset_dict["sem_seg_file_name"]
        labels = self._read_labels(dataset_dict)
        if labels.shape != (sample["height"], sample["width"]):
            raise ValueError(
                f"label file {name} is {labels.shape[0]} x {labels.shape[1]} pixels, its image "
                f"{dataset_dict['file_name']} is {sample['height']} x {sample['width']}; "
                f"{size_remedy(labels.shape, (sample['height'], sample['width']))}"
            )
        height, width = sample["image"].shape[1:]
        rows = nearest_pixels(labels.shape[0], height)
        labels = labels[rows[:, None], nearest_pixels(labels.shape[1], width)]
        found = np.unique(labels)
        counts = found >= 0
        sample["masks"] = torch.from_numpy(masks_of_labels(labels)[counts])
        sample["mask_class_ids"] = torch.from_numpy(found[counts].astype(np.int64))
        return sample
