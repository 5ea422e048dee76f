"""The default mapper from a dataset dict to a model input."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..config import CfgNode, configurable
from . import detection_utils as utils
from . import transforms as T

__all__ = ["DatasetMapper"]

_logger = logging.getLogger("detectron2.data.dataset_mapper")


class DatasetMapper:
    """Read an image and its label map, augment both alike, make tensors of them.

    Departs: of detectron2's mapper only images and semantic labels; no instances, keypoints or
    proposals.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
    ) -> None:
        """Take the parts, or a config; see ``from_config``.

        Args:
            is_train: whether annotations are for training.
            augmentations: applied in order; augmentations or fixed transforms.
            image_format: see ``detection_utils.read_image``.
        """
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        mode = "training" if is_train else "inference"
        _logger.info("[DatasetMapper] Augmentations used in %s: %s", mode, augmentations)

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Translate ``cfg.INPUT``; in training a random crop comes first where it is enabled."""
        augmentations = utils.build_augmentation(cfg, is_train)
        if is_train and cfg.INPUT.CROP.ENABLED:
            augmentations.insert(0, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
        return {
            "is_train": is_train,
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one sample; the dict given is left as it is.

        Args:
            dataset_dict: with ``file_name`` and, where there are labels, ``sem_seg_file_name``.

        Returns:
            The dict with ``image`` (C, h, w), ``height`` and ``width`` of the file, and, where
            there are labels, ``sem_seg`` (h, w) long instead of the file's name. h and w are
            those after augmentation.

        Raises:
            SizeMismatchError: the image is not of the size that the dict says.
            ValueError: instance annotations in training.
        """
        sample = copy.deepcopy(dataset_dict)
        image = utils.read_image(sample["file_name"], format=self.image_format)
        utils.check_image_size(sample, image)
        sem_seg = None
        if "sem_seg_file_name" in sample:
            sem_seg = utils.read_image(sample.pop("sem_seg_file_name"), "L").squeeze(2)
        if sample.pop("annotations", None) and self.is_train:
            raise ValueError(
                f"{sample['file_name']} has instance annotations, which DatasetMapper handles only "
                "where detectron2 is installed; use a mapper of your own, or drop 'annotations'."
            )

        aug_input = T.AugInput(image, sem_seg=sem_seg)
        self.augmentations(aug_input)
        # A copy: torch takes neither negative strides nor, without a warning, read-only memory.
        sample["image"] = torch.from_numpy(aug_input.image.transpose(2, 0, 1).copy())
        if sem_seg is not None:
            sample["sem_seg"] = torch.from_numpy(aug_input.sem_seg.astype(np.int64))
        return sample
