"""Class ids of the pixels of a dataset's entry, from label files of any coding."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..d2.data import DatasetCatalog, MetadataCatalog
from ..vocab import LabelCodes, label_codes
from .readers import LabelFileError, read_labels

__all__ = ["LabelReader"]

_logger = logging.getLogger(__name__)
_PLAIN = LabelCodes("a dataset without a name", None, ())
_PROBED = 20  # label files that are read to find out their coding, at most


class LabelReader:
    """Reads label files in the coding that the metadata of their dataset describe.

    Metadata are looked up once for each dataset. A map from dataset ids to class ids does not tell
    which of the two the label files hold: detectron2 expects class ids, while a dataset's original
    files hold dataset ids. ``label_ids`` of the metadata decides; else the first value that can be
    only one of the two; else files hold dataset ids.
    """

    def __init__(self, *, strict: bool = True, default_ignored: int | None = None) -> None:
        """Set how values without a meaning are read.

        Args:
            strict: refuse values without a meaning; else they are read as -101.
            default_ignored: value of ignored pixels in files of a dataset without
                ``ignore_label``.
        """
        self._strict = strict
        self._default_ignored = default_ignored
        self._codes: dict[str, LabelCodes] = {}

    def __call__(self, dataset_dict: Mapping[str, Any]) -> np.ndarray:
        """(H, W) int64 class ids of an entry; results and errors are those of `read`.

        Args:
            dataset_dict: with ``sem_seg_file_name``, and ``dataset_name`` unless the file holds
                class ids.
        """
        return self.read(dataset_dict.get("dataset_name", ""), dataset_dict["sem_seg_file_name"])

    def read(self, dataset_name: str, file_name: str) -> np.ndarray:
        """Read the class ids of a label file.

        Args:
            dataset_name: registered; "" for files that hold class ids.
            file_name: of the label file.

        Returns:
            (H, W) int64, 0 to K - 1 and `IGNORED`.

        Raises:
            FileNotFoundError, LabelFileError: the file cannot be read, see `read_labels`.
            ValueError: a value has no meaning, or the metadata have another form, see
                `label_codes`.
        """
        codes = self.codes_of(dataset_name)
        values = read_labels(file_name, colors=bool(codes.colors))
        return codes.decode(values, file_name, strict=self._strict)

    def codes_of(self, dataset_name: str) -> LabelCodes:
        """Coding of the values in a dataset's label files."""
        if not dataset_name:
            return _PLAIN
        if dataset_name not in self._codes:
            codes = label_codes(
                MetadataCatalog.get(dataset_name),
                f"dataset {dataset_name}",
                default_ignored=self._default_ignored,
            )
            self._codes[dataset_name] = _settle(codes, dataset_name)
        return self._codes[dataset_name]


def _settle(codes: LabelCodes, dataset_name: str) -> LabelCodes:
    """Decide whether label files hold dataset ids or class ids."""
    if codes.ids is None:
        return codes
    coding = codes.label_ids or _probe(codes, dataset_name)
    if coding == "contiguous":
        return codes.contiguous()
    if not coding:
        _logger.warning(
            "%s maps ids by stuff_dataset_id_to_contiguous_id, and its label files do not tell "
            "whether they hold these or class ids; they are read as dataset ids (set label_ids to "
            "'dataset' or 'contiguous' in the metadata to decide)",
            codes.where,
        )
    both = sorted(set(codes.ids) & set(codes.ignored))
    if both:
        raise ValueError(
            f"{codes.where} ignores {both[0]} and also maps it to a class; remove it from "
            "ignore_label or from stuff_dataset_id_to_contiguous_id"
        )
    return replace(codes, label_ids="dataset")


def _probe(codes: LabelCodes, dataset_name: str) -> str:
    """Find the coding by the first label files: "dataset", "contiguous" or ""."""
    if dataset_name not in DatasetCatalog.list():
        return ""
    entries = [d for d in DatasetCatalog.get(dataset_name) if "sem_seg_file_name" in d]
    for entry in entries[:_PROBED]:
        try:
            values = read_labels(entry["sem_seg_file_name"])
        except (FileNotFoundError, LabelFileError):
            continue  # an error when the file itself is needed
        coding = codes.proven_by(values)
        if coding:
            _logger.info(
                "%s maps ids by stuff_dataset_id_to_contiguous_id; its label files hold %s ids",
                codes.where,
                coding,
            )
            return coding
    return ""
