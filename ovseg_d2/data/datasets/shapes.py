"""The splits of the Shapes world in detectron2's catalogs."""

from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from ..shapes import (
    CLASS_SETS,
    CLASSES,
    IGNORE_LABEL,
    PICTURE_SIZE,
    crop_name,
    format_name,
)

SHAPES_SIZES: dict[str, int] = {"train": 20000, "dev": 500, "val": 1000}
# Evaluations that need no labels of pixels, and their evaluators.
SHAPES_VIEWS: dict[str, str] = {
    "crops": "classification",
    "captions": "retrieval",
    "probe": "linear_probe",
}
_SEED = 0
_FIT_FOR_EACH = 3  # crops of train that a probe is fitted to, for each crop it is tested with


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


def shapes_view_dicts(
    view: str, split: str, seed: int = _SEED, size: int | None = None
) -> list[dict[str, Any]]:
    """Dataset dicts of a view of a split that is evaluated otherwise than by labels of pixels.

    Args:
        view: ``crops`` of single objects; whole pictures with ``captions``, which are read from
            their names; or ``probe``, crops of the split (``probe_part`` "test") and between them
            three times as many of train ("fit"), so that the first so many of all will do too.
        split: ``dev`` or ``val``.
        seed: which world of that kind.
        size: how many pictures of the split; None takes its own number.
    """
    size = SHAPES_SIZES[split] if size is None else size
    names = [format_name(split, seed, i) for i in range(size)]
    if view == "captions":
        return [{"file_name": name, "image_id": i} for i, name in enumerate(names)]
    tested = [{"file_name": crop_name(name), "image_id": i} for i, name in enumerate(names)]
    if view == "crops":
        return tested
    dicts: list[dict[str, Any]] = []
    for i, each in enumerate(tested):
        fitted = (format_name("train", seed, _FIT_FOR_EACH * i + k) for k in range(_FIT_FOR_EACH))
        dicts += [{"file_name": crop_name(name), "probe_part": "fit"} for name in fitted]
        dicts.append({**each, "probe_part": "test"})
    return dicts


def register_shapes() -> None:
    """Register ``ovseg_shapes_train``, ``_dev`` and ``_val``, and views of the last two.

    A view's name is its split's with ``_crops``, ``_captions`` or ``_probe`` behind it.
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
