"""SA-1B in detectron2's catalogs: images with SAM's masks and without classes."""

import logging
from pathlib import Path
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from .benchmarks import datasets_root, list_stems

__all__ = ["SA1B_FOLDER", "SA1B_NAME", "pair_sa1b", "register_sa1b", "sa1b_dicts"]

_logger = logging.getLogger(__name__)

SA1B_NAME = "ovseg_sa1b_train"
SA1B_FOLDER = "sa1b"
# Folders of images and of masks that lie apart, as PixelCLIP's authors have them.
_IMAGES, _MASKS = "images", "annotations"


def pair_sa1b(folder: Path) -> tuple[dict[str, str], set[str], set[str]]:
    """Pair the images of SA-1B with their masks, without opening files.

    Its archives may be unpacked into one folder or into a folder each. An image and its masks lie
    side by side (``sa_000000/sa_1.jpg``, ``.json``) or apart, in the same subfolder of ``images``
    and of ``annotations``.

    Args:
        folder: of all archives.

    Returns:
        Stem of each image (its path below the folder, without suffix) -> stem of its masks; stems
        of images without masks; stems of masks without an image.
    """
    images, masks = list_stems(folder, ".jpg"), list_stems(folder, ".json")
    pairs = {}
    for stem in images:
        apart = (
            stem.replace(f"{_IMAGES}/", f"{_MASKS}/", 1) if stem.startswith(f"{_IMAGES}/") else stem
        )
        found = next((name for name in (stem, apart) if name in masks), None)
        if found is not None:
            pairs[stem] = found
    return pairs, images - pairs.keys(), masks - set(pairs.values())


def sa1b_dicts() -> list[dict[str, Any]]:
    """List SA-1B, or the part of it that is on disk, without opening its files.

    Layouts are those of `pair_sa1b`. Images without masks are left out with a warning.

    Returns:
        Dicts with ``file_name``, ``masks_file_name`` and ``image_id``, sorted by name.

    Raises:
        FileNotFoundError: the folder is missing, or holds no image with masks.
    """
    root = datasets_root() / SA1B_FOLDER
    remedy = (
        f"set DETECTRON2_DATASETS (now {str(datasets_root())!r}) to the folder that holds the "
        f"datasets, and unpack archives of SA-1B into its subfolder {SA1B_FOLDER!r}, which "
        "datasets/prepare_sa1b.py does"
    )
    if not root.is_dir():
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: the folder {root} does not exist; {remedy}"
        )
    pairs, without, _ = pair_sa1b(root)
    if not pairs:
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: none of the {len(without)} images '*.jpg' in {root} has masks "
            f"'*.json' beside it or below {_MASKS!r}; {remedy}"
        )
    if without:
        _logger.warning(
            "dataset '%s': %d images without masks are left out", SA1B_NAME, len(without)
        )
    return [
        {
            "file_name": str(root / f"{stem}.jpg"),
            "masks_file_name": str(root / f"{pairs[stem]}.json"),
            "image_id": stem.rpartition("/")[2],
        }
        for stem in sorted(pairs)
    ]


def register_sa1b() -> None:
    """Register ``ovseg_sa1b_train``; its folder is read when the dataset is used."""
    DatasetCatalog.register(SA1B_NAME, sa1b_dicts)
    MetadataCatalog.get(SA1B_NAME).set(evaluator_type="none")
