"""Crops of images for networks that classify pixels, with and without labels."""

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
from ..arrays import check_image_format, image_tensor, order_channels
from ..images import ImageReadError
from ..labels import LabelReader
from ..readers import LabelFileError, read_image_of
from ..sampler import Draw, numpy_seeded, sample_rng
from ..views import distort_colors
from .geometry import geometry_from_config, transform_masks

__all__ = ["ImageMapper", "SemanticMapper"]

_logger = logging.getLogger(__name__)

_PADDING = 128  # value of pixels beside an image that is smaller than the crop


class ImageMapper:
    """Maps an entry to a random crop of its image, without labels."""

    def __init__(
        self,
        *,
        geometry: Sequence[Augmentation] = (),
        pad_to: tuple[int, int] | None = None,
        distort: bool = True,
        image_format: str = "RGB",
        ignore: int = 255,
    ) -> None:
        """Check the options.

        Args:
            geometry: detectron2's augmentations that resize, crop and flip, in this order.
            pad_to: (h, w) in pixels to which smaller crops are padded at the bottom and right.
            distort: distort the colours, see `distort_colors`.
            image_format: RGB or BGR, the channel order of the result.
            ignore: label of the padding.

        Raises:
            ValueError: another format.
        """
        self._geometry = list(geometry)
        self._pad_to = pad_to
        self._distort = distort
        self._image_format = check_image_format(image_format)
        self._ignore = ignore

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "ImageMapper":
        """Read the ``INPUT`` keys of resizing, cropping, flipping, colours and format.

        Raises:
            ValueError: balanced crops, which need labels.
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
            dataset_dict: an entry of a dataset.
            draw: position in the stream, the source of all randomness.

        Returns:
            The dict without ``sem_seg_file_name``, with ``image`` (3, H, W) uint8 and ``sem_seg``
            (H, W) int64: `UNLABELLED`, and the ignore label in the padding. None, after a warning,
            if the image cannot be read.
        """
        try:
            image = read_image_of(dataset_dict["file_name"])
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
                (0, max(least - side, 0))
                for least, side in zip(self._pad_to, labels.shape, strict=True)
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
        """(H, W) int64 labels of an (H, W, 3) image, and the sample's notes on the label file."""
        return np.full(image.shape[:2], UNLABELLED), {}

    def _move(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Resize, crop and flip image and labels together."""
        for augmentation in self._geometry:
            transform: Transform
            if isinstance(augmentation, RandomCrop_CategoryAreaConstraint):
                transform = augmentation.get_transform(image, labels)
            else:
                transform = augmentation.get_transform(image)
            image = transform.apply_image(image)
            (labels,) = transform_masks(labels[None], [transform])
        return image, labels


class SemanticMapper(ImageMapper):
    """Maps an entry to a random crop of its image and labels, with unseen classes hidden.

    Source: the official code of [maskclip], which hides them when it reads the file, before crops
    are balanced by the remaining labels.
    """

    def __init__(
        self, *, unseen: Sequence[str] = (), only_ignored: bool = False, **options: Any
    ) -> None:
        """Check the options; errors are those of `ImageMapper`.

        Args:
            unseen: classes and class sets of the dataset whose labels become `UNLABELLED`.
            only_ignored: all classes become `UNLABELLED`; only ignored labels stay.
            options: of `ImageMapper`.
        """
        super().__init__(**options)
        self._unseen = tuple(unseen)
        self._only_ignored = only_ignored
        # If only ignored pixels are used, other values need no meaning.
        self._read_labels = LabelReader(strict=not only_ignored, default_ignored=self._ignore)
        self._hidden: dict[str, list[int]] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "SemanticMapper":
        """Read ``INPUT.SEMANTIC`` and the keys of `ImageMapper`.

        Raises:
            ValueError: balanced crops without classes to balance.
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
        """Make a sample: that of `ImageMapper`, with class ids of the dataset in ``sem_seg``.

        ``label_classes`` are the classes of the whole label file before any is hidden, and
        ``label_ignored`` tells whether it has ignored pixels; neither with ``only_ignored``.

        Raises:
            ValueError: the entry has no label file, or its dataset is not registered or lacks the
                unseen classes.
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
        class_ids = self._read_labels(dataset_dict)
        if class_ids.shape != image.shape[:2]:
            raise _LabelError(
                f"label file {file_name} has {class_ids.shape[0]} x {class_ids.shape[1]} pixels, "
                f"and its image {image.shape[0]} x {image.shape[1]}; "
                f"{size_remedy(class_ids.shape, image.shape[:2])}"
            )
        ignored = class_ids == IGNORED
        if self._only_ignored:
            return np.where(ignored, self._ignore, UNLABELLED), {}
        classes = tuple(np.unique(class_ids[~ignored]).tolist())
        notes = {"label_classes": classes, "label_ignored": bool(ignored.any())}
        labels = np.where(np.isin(class_ids, hidden), UNLABELLED, class_ids)
        labels[ignored] = self._ignore
        return labels, notes

    def _hidden_in(self, dataset_name: str) -> list[int]:
        """Class ids of a dataset that are hidden."""
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
    """The size of labels differs from their image's."""


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
