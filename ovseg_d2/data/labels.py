"""Class ids of each pixel of a dataset's entry, whatever values its label file holds."""

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
_PROBED = 20  # label files that are looked at to tell what their values are


class LabelReader:
    """Reads label files as the metadata of their dataset say.

    Metadata are looked up once for each dataset. Those that map dataset ids to class ids do not
    tell which of the two the label files hold: detectron2 expects class ids there, the files that
    come with a dataset hold its own. ``label_ids`` of the metadata says it; else the first files
    with a value that can only be one of them do, and else files hold dataset ids.
    """

    def __init__(self, *, strict: bool = True, default_ignored: int | None = None) -> None:
        """Say what is accepted.

        Args:
            strict: refuse values that stand for nothing; else they are read as -101.
            default_ignored: value of pixels that do not count in files of a dataset without
                ``ignore_label``.
        """
        self._strict = strict
        self._default_ignored = default_ignored
        self._codes: dict[str, LabelCodes] = {}

    def __call__(self, dataset_dict: Mapping[str, Any]) -> np.ndarray:
        """(H, W) int64 of an entry's own label file; see :meth:`read`.

        Args:
            dataset_dict: with ``sem_seg_file_name`` and ``dataset_name``. Without the latter
                files hold class ids.
        """
        return self.read(dataset_dict.get("dataset_name", ""), dataset_dict["sem_seg_file_name"])

    def read(self, dataset_name: str, file_name: str) -> np.ndarray:
        """Class ids of a label file.

        Args:
            dataset_name: registered; "" is a dataset whose files hold class ids.
            file_name: of its label file.

        Returns:
            (H, W) int64, 0 to K - 1 and `IGNORED`.

        Raises:
            FileNotFoundError, LabelFileError: the file cannot be read, see `read_labels`.
            ValueError: a value stands for nothing, or the metadata are of another form, see
                `label_codes`.
        """
        codes = self.codes_of(dataset_name)
        values = read_labels(file_name, colors=bool(codes.colors))
        return codes.decode(values, file_name, strict=self._strict)

    def codes_of(self, dataset_name: str) -> LabelCodes:
        """What the values in a dataset's label files stand for."""
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
    """Decide whether label files hold the ids that a dataset maps, or class ids."""
    if codes.ids is None:
        return codes
    held = codes.label_ids or _probe(codes, dataset_name)
    if held == "contiguous":
        return codes.contiguous()
    if not held:
        _logger.warning(
            "%s maps ids by stuff_dataset_id_to_contiguous_id, and its label files do not tell "
            "whether they hold those or class ids; they are taken for those (label_ids='dataset' "
            "or 'contiguous' in the metadata settles it)",
            codes.where,
        )
    both = sorted(set(codes.ids) & set(codes.ignored))
    if both:
        raise ValueError(
            f"{codes.where} ignores {both[0]} and maps it to a class, too; take it out of "
            "ignore_label or out of stuff_dataset_id_to_contiguous_id"
        )
    return replace(codes, label_ids="dataset")


def _probe(codes: LabelCodes, dataset_name: str) -> str:
    if dataset_name not in DatasetCatalog.list():
        return ""
    entries = [each for each in DatasetCatalog.get(dataset_name) if "sem_seg_file_name" in each]
    for entry in entries[:_PROBED]:
        try:
            values = read_labels(entry["sem_seg_file_name"])
        except (FileNotFoundError, LabelFileError):
            continue  # reported where the file's own turn comes
        held = codes.proven_by(values)
        if held:
            _logger.info(
                "%s maps ids by stuff_dataset_id_to_contiguous_id; its label files hold %s ids",
                codes.where,
                held,
            )
            return held
    return ""
