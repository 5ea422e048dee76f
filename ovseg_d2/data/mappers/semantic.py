"""Crops of pictures for networks that label pixels, with labels and without."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...d2.config import CfgNode
from ...d2.data import MetadataCatalog
from ...d2.data.transforms import Augmentation, RandomCrop_CategoryAreaConstraint, Transform
from ...ops import UNLABELLED, size_remedy
from ...vocab import IGNORED, find_unseen, metadata_vocabulary
from ..images import ImageReadError
from ..labels import LabelReader
from ..readers import LabelFileError, read_picture
from ..sampler import Draw, numpy_seeded, sample_rng
from ..views import distort_colors
from .geometry import geometry_from_config
from .masks import transform_masks
from .test import check_image_format, image_tensor, order_channels

__all__ = ["PictureMapper", "SemanticMapper"]

_logger = logging.getLogger(__name__)

# What is added where a picture is smaller than the crop.
_PADDING = 128


class PictureMapper:
    """A crop of a picture, and nothing that anybody has told about it: no label is read."""

    def __init__(
        self,
        *,
        geometry: Sequence[Augmentation] = (),
        pad_to: tuple[int, int] | None = None,
        distort: bool = True,
        image_format: str = "RGB",
        ignore: int = 255,
    ) -> None:
        """Describe the augmentation.

        Args:
            geometry: detectron2's augmentations that resize, crop and flip, in this order.
            pad_to: (h, w) in pixels that smaller crops are brought to, at the bottom and right.
            distort: distort the colours, see `distort_colors`.
            image_format: RGB or BGR, the order of the channels handed on.
            ignore: label of what was added.

        Raises:
            ValueError: another format.
        """
        self._geometry = list(geometry)
        self._pad_to = pad_to
        self._distort = distort
        self._image_format = check_image_format(image_format)
        self._ignore = ignore

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "PictureMapper":
        """Read the ``INPUT`` keys of resizing, cropping, flipping, colours and format.

        Raises:
            ValueError: crops are to be balanced, which takes labels.
        """
        share = cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA
        if share < 1:
            raise ValueError(
                f"INPUT.CROP.SINGLE_CATEGORY_MAX_AREA is {share}, and INPUT.TRAIN_MAPPER pictures "
                "reads no labels to balance crops by; set it to 1.0"
            )
        return cls(**_options_from_config(cfg))

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """Make a sample.

        Args:
            dataset_dict: one entry of a dataset.
            draw: where the sample lies in the stream; all randomness comes from it.

        Returns:
            The dict, but for the name of its label file, with ``image`` (3, H, W) uint8 and
            ``sem_seg`` (H, W) int64: `UNLABELLED`, and the ignore label for what was added to the
            picture. None, after a warning, where the picture cannot be read.
        """
        try:
            image = read_picture(dataset_dict["file_name"])
            labels, notes = self._labels_of(dataset_dict, image)
        except _UNREADABLE as error:
            _logger.warning("%s: left out of training", error)
            return None
        with numpy_seeded(draw):
            image, labels = self._move(image, labels)
        if self._distort:
            image = distort_colors(image, sample_rng(draw))
        if self._pad_to is not None:
            rows, columns = (
                (0, max(wanted - side, 0))
                for wanted, side in zip(self._pad_to, labels.shape, strict=True)
            )
            image = np.pad(image, (rows, columns, (0, 0)), constant_values=_PADDING)
            labels = np.pad(labels, (rows, columns), constant_values=self._ignore)
        kept = {key: value for key, value in dataset_dict.items() if key != "sem_seg_file_name"}
        return {
            **kept,
            **notes,
            "image": image_tensor(order_channels(image, self._image_format)),
            "sem_seg": torch.from_numpy(np.ascontiguousarray(labels)),
        }

    def _labels_of(
        self, dataset_dict: dict[str, Any], image: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """(H, W) int64 of an (H, W, 3) picture, and what the sample says of the label file."""
        return np.full(image.shape[:2], UNLABELLED), {}

    def _move(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Resize, crop and flip both alike."""
        for augmentation in self._geometry:
            transform: Transform
            if isinstance(augmentation, RandomCrop_CategoryAreaConstraint):
                transform = augmentation.get_transform(image, labels)
            else:
                transform = augmentation.get_transform(image)
            image = transform.apply_image(image)
            (labels,) = transform_masks(labels[None], [transform])
        return image, labels


class SemanticMapper(PictureMapper):
    """A crop of a picture with its labels, those of unseen classes hidden.

    Source: the official code of [maskclip], which hides them when it reads the file, before crops
    are balanced by what is left.
    """

    def __init__(
        self, *, unseen: Sequence[str] = (), only_ignored: bool = False, **options: Any
    ) -> None:
        """Describe augmentation and labels.

        Args:
            unseen: classes and class sets of the dataset whose labels become `UNLABELLED`.
            only_ignored: all classes become so, and what the dataset ignores is all that is left.
            options: as for `PictureMapper`.

        Raises:
            ValueError: as `PictureMapper`.
        """
        super().__init__(**options)
        self._unseen = tuple(unseen)
        self._only_ignored = only_ignored
        # Where nothing but the ignored pixels is used, other values may stand for nothing.
        self._read_labels = LabelReader(strict=not only_ignored, default_ignored=self._ignore)
        self._hidden: dict[str, list[int]] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "SemanticMapper":
        """Read ``INPUT.SEMANTIC`` and what `PictureMapper` reads.

        Raises:
            ValueError: crops are to be balanced by labels of which nothing is left.
        """
        semantic = cfg.INPUT.SEMANTIC
        share = cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA
        if semantic.ONLY_IGNORED and share < 1:
            raise ValueError(
                f"INPUT.CROP.SINGLE_CATEGORY_MAX_AREA is {share}, and INPUT.SEMANTIC.ONLY_IGNORED "
                "leaves no labels to balance crops by; set it to 1.0"
            )
        return cls(
            unseen=semantic.UNSEEN,
            only_ignored=semantic.ONLY_IGNORED,
            **_options_from_config(cfg, balance=True),
        )

    def __call__(self, dataset_dict: dict[str, Any], draw: Draw) -> dict[str, Any] | None:
        """As `PictureMapper`; ``sem_seg`` holds classes of the dataset, too.

        ``label_classes`` are those of the whole label file, before any is hidden, and
        ``label_ignored`` says whether it has ignored pixels; with ``only_ignored`` both are absent.

        Raises:
            ValueError: the entry has no label file, its dataset is not registered, or has no such
                classes.
        """
        if "sem_seg_file_name" not in dataset_dict:
            raise ValueError(
                f"{dataset_dict['file_name']}: its entry has no 'sem_seg_file_name'; add it to the "
                "dataset's dicts, or set INPUT.TRAIN_MAPPER to pictures"
            )
        return super().__call__(dataset_dict, draw)

    def _labels_of(
        self, dataset_dict: dict[str, Any], image: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any]]:
        file_name = dataset_dict["sem_seg_file_name"]
        hidden = self._hidden_in(dataset_dict["dataset_name"])
        found = self._read_labels(dataset_dict)
        if found.shape != image.shape[:2]:
            raise _LabelError(
                f"label file {file_name} has {found.shape[0]} x {found.shape[1]} pixels, and its "
                f"picture {image.shape[0]} x {image.shape[1]}; "
                f"{size_remedy(found.shape, image.shape[:2])}"
            )
        ignored = found == IGNORED
        if self._only_ignored:
            return np.where(ignored, self._ignore, UNLABELLED), {}
        classes = tuple(np.unique(found[~ignored]).tolist())
        notes = {"label_classes": classes, "label_ignored": bool(ignored.any())}
        labels = np.where(np.isin(found, hidden), UNLABELLED, found)
        labels[ignored] = self._ignore
        return labels, notes

    def _hidden_in(self, dataset_name: str) -> list[int]:
        """The classes of a dataset that are hidden."""
        if dataset_name not in self._hidden:
            where = f"dataset {dataset_name!r}"
            vocabulary = metadata_vocabulary(MetadataCatalog.get(dataset_name), where)
            names, class_sets = (
                ((), {}) if vocabulary is None else (vocabulary.names, vocabulary.class_sets)
            )
            try:
                hidden = find_unseen(self._unseen, names, class_sets)
            except ValueError as error:
                raise ValueError(f"INPUT.SEMANTIC.UNSEEN, {where}: {error}") from error
            self._hidden[dataset_name] = list(hidden)
        return self._hidden[dataset_name]


class _LabelError(Exception):
    """Labels that do not fit their picture."""


_UNREADABLE = (ImageReadError, FileNotFoundError, LabelFileError, _LabelError)


def _options_from_config(cfg: CfgNode, *, balance: bool = False) -> dict[str, Any]:
    crop = cfg.INPUT.CROP
    fixed = crop.ENABLED and crop.TYPE == "absolute"
    return {
        "geometry": geometry_from_config(cfg, balance=balance),
        "pad_to": (int(crop.SIZE[0]), int(crop.SIZE[1])) if fixed else None,
        "distort": cfg.INPUT.SEMANTIC.DISTORT,
        "image_format": cfg.INPUT.FORMAT,
        "ignore": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
    }
