"""Images for inference with the masks of their labels."""

from typing import Any

import numpy as np
import torch

from ...masks import masks_of_labels, nearest_pixels
from ...ops import size_remedy
from ..labels import LabelReader
from .test import TestMapper

__all__ = ["TruthMaskMapper"]


class TruthMaskMapper(TestMapper):
    """Maps an entry to its image, and a mask and class id for each class in its labels."""

    def __init__(self, **options: Any) -> None:
        """Options are those of `TestMapper`."""
        super().__init__(**options)
        self._read_labels = LabelReader(strict=False)

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Make the sample of `TestMapper`, with the masks.

        Args:
            dataset_dict: with ``sem_seg_file_name`` and ``dataset_name``.

        Returns:
            The sample with ``masks`` (Q, h, w) bool at the size of the resized image, none of them
            empty, and ``mask_class_ids`` (Q,) int64, rising.

        Raises:
            ValueError: labels of another size than their image, or an error of `LabelReader`.
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
        values = np.unique(labels)
        is_class = values >= 0
        sample["masks"] = torch.from_numpy(masks_of_labels(labels)[is_class])
        sample["mask_class_ids"] = torch.from_numpy(values[is_class].astype(np.int64))
        return sample
