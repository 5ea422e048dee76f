"""The splits of the Shapes world in detectron2's catalogs."""

from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from ..shapes import (
    CLASS_SETS,
    CLASSES,
    IGNORE_LABEL,
    IMAGE_SIZE,
    crop_name,
    format_name,
)

SHAPES_SIZES: dict[str, int] = {"train": 20000, "dev": 500, "val": 1000}
# Views of a split, for evaluations without pixel labels -> evaluator type.
SHAPES_VIEWS: dict[str, str] = {
    "crops": "classification",
    "captions": "retrieval",
    "probe": "linear_probe",
}
_SEED = 0
_FIT_FOR_EACH = 3  # crops of train that fit a probe, for each crop that tests it


def shapes_dataset_name(split: str) -> str:
    """Registered name of a split."""
    return f"ovseg_shapes_{split}"


def shapes_dicts(split: str, seed: int = _SEED, size: int | None = None) -> list[dict[str, Any]]:
    """Dataset dicts of a split; their file names are virtual.

    Args:
        split: ``train``, ``dev`` or ``val``.
        seed: seed of the world.
        size: number of images; None takes the split's.
    """
    size = SHAPES_SIZES[split] if size is None else size
    names = (format_name(split, seed, i) for i in range(size))
    return [
        {
            "file_name": name,
            "sem_seg_file_name": name,
            "image_id": i,
            "height": IMAGE_SIZE,
            "width": IMAGE_SIZE,
        }
        for i, name in enumerate(names)
    ]


def shapes_view_dicts(
    view: str, split: str, seed: int = _SEED, size: int | None = None
) -> list[dict[str, Any]]:
    """Dataset dicts of a view of a split, for evaluations without pixel labels.

    Args:
        view: ``crops`` of single objects; ``captions``, whole images whose captions follow from
            their names; or ``probe``, crops of the split (``probe_part`` "test"), each after three
            crops of train ("fit"), so that the first N dicts are a probe, too.
        split: ``dev`` or ``val``.
        seed: seed of the world.
        size: number of images of the split; None takes the split's.
    """
    size = SHAPES_SIZES[split] if size is None else size
    names = [format_name(split, seed, i) for i in range(size)]
    if view == "captions":
        return [{"file_name": name, "image_id": i} for i, name in enumerate(names)]
    crops = [{"file_name": crop_name(name), "image_id": i} for i, name in enumerate(names)]
    if view == "crops":
        return crops
    dicts: list[dict[str, Any]] = []
    for i, crop in enumerate(crops):
        fitting = (format_name("train", seed, _FIT_FOR_EACH * i + k) for k in range(_FIT_FOR_EACH))
        dicts += [{"file_name": crop_name(name), "probe_part": "fit"} for name in fitting]
        dicts.append({**crop, "probe_part": "test"})
    return dicts


def register_shapes() -> None:
    """Register ``ovseg_shapes_train``, ``_dev`` and ``_val``, and the views of the last two.

    The name of a view is the split's with ``_crops``, ``_captions`` or ``_probe`` appended.
    """
    for split in SHAPES_SIZES:
        name = shapes_dataset_name(split)
        DatasetCatalog.register(name, lambda split=split: shapes_dicts(split))
        _set_metadata(name, "sem_seg")
        for view, evaluator_type in ({} if split == "train" else SHAPES_VIEWS).items():
            DatasetCatalog.register(
                f"{name}_{view}", lambda view=view, split=split: shapes_view_dicts(view, split)
            )
            _set_metadata(f"{name}_{view}", evaluator_type)


def _set_metadata(name: str, evaluator_type: str) -> None:
    MetadataCatalog.get(name).set(
        stuff_classes=list(CLASSES),
        class_sets={key: list(ids) for key, ids in CLASS_SETS.items()},
        ignore_label=IGNORE_LABEL,
        evaluator_type=evaluator_type,
    )
