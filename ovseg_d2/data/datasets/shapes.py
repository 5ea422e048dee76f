"""The splits of the Shapes world in detectron2's catalogs."""

from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from ..shapes import CLASS_SETS, CLASSES, IGNORE_LABEL, PICTURE_SIZE, format_name

SHAPES_SIZES: dict[str, int] = {"train": 20000, "dev": 500, "val": 1000}
_SEED = 0


def shapes_dataset_name(split: str) -> str:
    """The registered name of a split."""
    return f"ovseg_shapes_{split}"


def shapes_dicts(split: str, seed: int = _SEED, size: int | None = None) -> list[dict[str, Any]]:
    """Dataset dicts of a split; the files they name are virtual.

    Args:
        split: ``train``, ``dev`` or ``val``.
        seed: which world of that kind.
        size: how many pictures; None takes the split's own number.
    """
    size = SHAPES_SIZES[split] if size is None else size
    names = (format_name(split, seed, i) for i in range(size))
    return [
        {
            "file_name": name,
            "sem_seg_file_name": name,
            "image_id": i,
            "height": PICTURE_SIZE,
            "width": PICTURE_SIZE,
        }
        for i, name in enumerate(names)
    ]


def register_shapes() -> None:
    """Register ``ovseg_shapes_train``, ``_dev`` and ``_val``."""
    for split in SHAPES_SIZES:
        name = shapes_dataset_name(split)
        DatasetCatalog.register(name, lambda split=split: shapes_dicts(split))
        MetadataCatalog.get(name).set(
            stuff_classes=list(CLASSES),
            class_sets={key: list(ids) for key, ids in CLASS_SETS.items()},
            ignore_label=IGNORE_LABEL,
            evaluator_type="sem_seg",
        )
