"""Masked self-distillation against contrastive training at equal steps, batches, data and seeds."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .jobs import Job
from .tables import Claim, Panels, Point

__all__ = ["masked_distill_clip_claim"]

_PLAIN = "configs/clip_short.yaml"
_DISTILLED = "configs/masked_distill_clip.yaml"
_TARGET = "MODEL.MASKED_DISTILL.TARGET"
_WEIGHT = "MODEL.MASKED_DISTILL.WEIGHT"
_LANGUAGE_WEIGHT = "MODEL.MASKED_DISTILL.LANGUAGE.WEIGHT"

_ROWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CLIPPretrain": (_PLAIN, ()),
    "target: pixels": (_DISTILLED, (_TARGET, "pixels")),
    "target: the student's own features": (_DISTILLED, (_TARGET, "student")),
    "target: the EMA teacher's features": (_DISTILLED, ()),
    "the same, and masked words": (_DISTILLED, (_LANGUAGE_WEIGHT, "1.0")),
    "the EMA teacher's features, weight 0.05 as published": (_DISTILLED, (_WEIGHT, "0.05")),
}
# Header -> view of the Shapes world ("" is segmentation) and number.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "crops, base": ("_crops", "accuracy_base"),
    "crops, novel": ("_crops", "accuracy_novel"),
    "crops, withheld": ("_crops", "accuracy_withheld"),
    "linear probe": ("_probe", "accuracy"),
    "image to text, R@1": ("_captions", "image_to_text_R@1"),
    "R@5": ("_captions", "image_to_text_R@5"),
    "R@10": ("_captions", "image_to_text_R@10"),
    "text to image, R@1": ("_captions", "text_to_image_R@1"),
    "R@5 ": ("_captions", "text_to_image_R@5"),
    "R@10 ": ("_captions", "text_to_image_R@10"),
    "mIoU": ("", "mIoU_base_novel"),
    "mIoU, own words": ("", "mIoU_base_novel_own_words"),
}
# Curves over the steps: label -> the scalar's name after that of the dataset.
_CURVES: Mapping[str, str] = {
    "accuracy of crops of base classes (%)": "_crops/classification/accuracy_base",
    "mIoU of base and novel classes, own words (%)": "/sem_seg/mIoU_base_novel_own_words",
}


def masked_distill_clip_claim(split: str = "val", seeds: int = 3) -> Claim:
    """`CLIPPretrain` against `MaskedDistillCLIP` with each target, and with masked words.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting; it is also evaluated during the
            training, for curves by which nothing is chosen.
        seeds: trainings of each row.
    """
    dataset = f"ovseg_shapes_{split}"
    names = tuple(f"{dataset}{view}" for view in ("", "_crops", "_captions", "_probe"))
    test = ("DATASETS.TEST", repr(names))
    jobs = tuple(
        Job(row, config, (*opts, *test), seed)
        for row, (config, opts) in _ROWS.items()
        for seed in range(seeds)
    )
    columns = {header: f"{dataset}{view}/{key}" for header, (view, key) in _COLUMNS.items()}
    return Claim(
        f"CLIP trained on the Shapes world for 1,500 steps, Shapes {split}, percent",
        jobs,
        columns,
        partial(_over_steps, dataset),
        "iteration",
    )


def _over_steps(dataset: str, rows: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> Panels:
    """The evaluations during training, averaged over the seeds of a row."""
    panels: dict[str, dict[str, list[Point]]] = {}
    for label, scalar in _CURVES.items():
        curves: dict[str, list[Point]] = {}
        for row in dict.fromkeys(rows):
            values: dict[float, list[float]] = {}
            for job_row, job in zip(rows, numbers, strict=True):
                points = job["curves"].get(f"{dataset}{scalar}", ()) if job_row == row else ()
                for iteration, value in points:
                    values.setdefault(iteration, []).append(value)
            if values:
                curves[row] = [(x, statistics.mean(ys)) for x, ys in values.items()]
        if curves:
            panels[label] = curves
    return panels
