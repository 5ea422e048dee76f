"""SA-1B in detectron2's catalogs: images with SAM's masks and without classes."""

import logging
import os
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from .benchmarks import datasets_root

__all__ = ["SA1B_NAME", "register_sa1b", "sa1b_dicts"]

_logger = logging.getLogger(__name__)

SA1B_NAME = "ovseg_sa1b_train"
_FOLDER = "sa1b"


def sa1b_dicts() -> list[dict[str, Any]]:
    """List SA-1B, or the part of it that is on disk, without opening its files.

    Its archives may be unpacked into one folder or into a folder each; an image and its masks lie
    side by side. Images without masks are left out with a warning.

    Returns:
        Dicts with ``file_name``, ``masks_file_name`` and ``image_id``, sorted by name.

    Raises:
        FileNotFoundError: the folder is missing, or holds no image with masks.
    """
    root = datasets_root() / _FOLDER
    remedy = (
        f"set DETECTRON2_DATASETS (now {str(datasets_root())!r}) to the folder that holds the "
        f"datasets, and unpack archives of SA-1B into its subfolder {_FOLDER!r}"
    )
    if not root.is_dir():
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: the folder {root} does not exist; {remedy}"
        )
    dicts, without = [], 0
    for folder, _, names in os.walk(root, followlinks=True):
        known = set(names)
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix != ".jpg":
                continue
            if f"{stem}.json" not in known:
                without += 1
                continue
            path = os.path.join(folder, stem)
            dicts.append(
                {
                    "file_name": f"{path}.jpg",
                    "masks_file_name": f"{path}.json",
                    "image_id": stem,
                }
            )
    if not dicts:
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: none of the {without} images '*.jpg' in {root} has masks "
            f"'*.json' beside it; {remedy}"
        )
    if without:
        _logger.warning("dataset '%s': %d images without masks are left out", SA1B_NAME, without)
    return sorted(dicts, key=lambda entry: entry["file_name"])


def register_sa1b() -> None:
    """Register ``ovseg_sa1b_train``; its folder is read when the dataset is used."""
    DatasetCatalog.register(SA1B_NAME, sa1b_dicts)
    MetadataCatalog.get(SA1B_NAME).set(evaluator_type="none")
