"""SA-1B in detectron2's catalogs: images with SAM's masks and without classes."""

import logging
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from .benchmarks import datasets_root, list_stems

__all__ = ["SA1B_APART", "SA1B_FOLDER", "SA1B_NAME", "register_sa1b", "sa1b_dicts"]

_logger = logging.getLogger(__name__)

SA1B_NAME = "ovseg_sa1b_train"
SA1B_FOLDER = "sa1b"
# Folders of images and of masks that lie apart, as PixelCLIP's authors have them.
SA1B_APART = ("images", "annotations")


def sa1b_dicts() -> list[dict[str, Any]]:
    """List SA-1B, or the part of it that is on disk, without opening its files.

    Its archives may be unpacked into one folder or into a folder each. An image and its masks lie
    side by side (``sa_000000/sa_1.jpg``, ``.json``) or apart, in the same subfolder of ``images``
    and of ``annotations``. Images without masks are left out with a warning.

    Returns:
        Dicts with ``file_name``, ``masks_file_name`` and ``image_id``, sorted by name.

    Raises:
        FileNotFoundError: the folder is missing, or holds no image with masks.
    """
    root = datasets_root() / SA1B_FOLDER
    remedy = (
        f"set DETECTRON2_DATASETS (now {str(datasets_root())!r}) to the folder that holds the "
        f"datasets, and unpack archives of SA-1B into its subfolder {SA1B_FOLDER!r}"
    )
    if not root.is_dir():
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: the folder {root} does not exist; {remedy}"
        )
    images, masks = list_stems(root, ".jpg"), list_stems(root, ".json")
    pairs = {stem: mask for stem in images if (mask := _masks_of(stem, masks))}
    without = len(images) - len(pairs)
    if not pairs:
        raise FileNotFoundError(
            f"dataset {SA1B_NAME!r}: none of the {without} images '*.jpg' in {root} has masks "
            f"'*.json' beside it or below {SA1B_APART[1]!r}; {remedy}"
        )
    if without:
        _logger.warning("dataset '%s': %d images without masks are left out", SA1B_NAME, without)
    return [
        {
            "file_name": str(root / f"{stem}.jpg"),
            "masks_file_name": str(root / f"{pairs[stem]}.json"),
            "image_id": stem.rpartition("/")[2],
        }
        for stem in sorted(pairs)
    ]


def _masks_of(image: str, masks: set[str]) -> str | None:
    """Stem of an image's masks, beside it or apart; None without masks."""
    if image in masks:
        return image
    folder, _, rest = image.partition("/")
    apart = f"{SA1B_APART[1]}/{rest}"
    return apart if folder == SA1B_APART[0] and apart in masks else None


def register_sa1b() -> None:
    """Register ``ovseg_sa1b_train``; its folder is read when the dataset is used."""
    DatasetCatalog.register(SA1B_NAME, sa1b_dicts)
    MetadataCatalog.get(SA1B_NAME).set(evaluator_type="none")
