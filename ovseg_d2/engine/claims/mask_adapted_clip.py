"""MaskAdaptedCLIP on the Shapes world: ways to adapt, depths of prompts, and where pairs come from.

Paper: [ovseg] Tables 2 to 4; there on ADE20K by mIoU, here by the classes of the truth's masks.
"""

from collections.abc import Mapping
from dataclasses import replace

from .jobs import Claim, Job

__all__ = ["COLUMNS", "adapted_clip", "mask_adapted_clip_claim"]

COLUMNS: Mapping[str, str] = {
    "base and novel": "class_accuracy_base_novel",
    "base": "class_accuracy_base",
    "novel": "class_accuracy_novel",
    "withheld": "class_accuracy_withheld",
    "all masks": "accuracy",
}

_FT, _MPT, _BOTH = (f"configs/ovseg_clip{name}.yaml" for name in ("", "_mpt", "_both"))
_FT_MPT, _MPT_FT = (f"configs/ovseg_clip_{name}.yaml" for name in ("ft_mpt", "mpt_ft"))
_DEPTH, _ALL_BLOCKS = "MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH", 4
_FILL = "MODEL.MASK_ADAPTED_CLIP.FILL"

# What tools/mine_pairs.py is told, by the folder that it fills.
_MINING: Mapping[str, tuple[str, ...]] = {
    "shapes_5cap": (),
    "shapes_1cap": ("--captions-per-image", "1"),
    "shapes_gt": ("--masks", "labels", "--nouns", "classes"),
    "shapes_gt_5cap": ("--masks", "labels"),
}
_PAIR_ROWS = {
    "shapes_1cap": "FT, proposals and one caption",
    "shapes_gt": "FT, ground-truth masks and their classes",
    "shapes_gt_5cap": "FT, ground-truth masks and captions",
}


def _prepare(folder: str) -> tuple[str, ...]:
    images = ("--images", "shapes://train/0/0-5999")
    words = (*_MINING[folder], "--output", f"output/pairs/{folder}")
    return ("tools/mine_pairs.py", *images, *words)


def mask_adapted_clip_claim(split: str = "val", seeds: int = 3) -> Claim:
    """The table of ways to adapt on a split of the Shapes world.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings a row.
    """
    whole = ("DATASETS.TEST", f"('ovseg_shapes_{split}',)", "TEST.MAX_IMAGES", "0")
    jobs = [
        Job("untuned", _FT, whole),
        Job("untuned, background left in", _FT, (*whole, _FILL, "none")),
    ]
    rows = zip(*(_trainings(seed) for seed in range(seeds)), strict=True)
    jobs += [
        Job(each.row, each.config_file, (*each.opts, *whole), weights=(("MODEL.WEIGHTS", each),))
        for row in rows
        for each in row
    ]
    title = f"Masked crops named by ShapesCLIP (prompts of depth 3), Shapes {split}, accuracy (%)"
    return Claim(title, tuple(jobs), COLUMNS)


def adapted_clip(seed: int) -> Job:
    """The training whose CLIP goes into OVSeg, "FT, then MPT"."""
    return next(job for job in _trainings(seed) if job.row == "FT, then MPT")


def _trainings(seed: int) -> list[Job]:
    """All rows' trainings; what they report themselves is of dev."""

    def train(row: str, config: str, *opts: str, folder: str = "shapes_5cap") -> Job:
        # Evaluated once, at the end.
        return Job(row, config, ("TEST.EVAL_PERIOD", "0", *opts), seed, prepare=_prepare(folder))

    def after(first: Job, row: str, config: str, *opts: str) -> Job:
        return replace(train(row, config, *opts), weights=(("MODEL.WEIGHTS", first),))

    ft, mpt = train("FT", _FT), train("MPT", _MPT)
    found = [ft, mpt, after(ft, "FT, then MPT", _FT_MPT), after(mpt, "MPT, then FT", _MPT_FT)]
    found.append(train("both at once", _BOTH))
    for depth in (1, 2, _ALL_BLOCKS):  # 3 is the configs'
        name = "all" if depth == _ALL_BLOCKS else str(depth)
        words = (_DEPTH, str(depth))
        found.append(train(f"MPT, depth {name}", _MPT, *words))
        found.append(after(ft, f"FT, then MPT, depth {name}", _FT_MPT, *words))
    for folder, row in _PAIR_ROWS.items():
        pairs = ("DATASETS.TRAIN", f"('output/pairs/{folder}/pairs.jsonl',)")
        found.append(train(row, _FT, *pairs, folder=folder))
    return found
