"""MaskAdaptedCLIP on the Shapes world: ways to adapt, depths of prompts, and sources of pairs.

Paper: [ovseg] Tables 2 to 4; there on ADE20K by mIoU, here by the accuracy on true masks.
"""

from collections.abc import Mapping
from dataclasses import replace

from .jobs import Job
from .maskformer import trained_maskformer
from .tables import Claim

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

# Folder of pairs -> row, and options of tools/mine_pairs.py. The default is five captions and the
# Shapes world's exact masks of all things without names; labels are of base classes.
_MINED = "shapes_5cap"
_OTHER_PAIRS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "shapes_1cap": ("FT, one caption", ("--captions-per-image", "1")),
    "shapes_gt": ("FT, labels and their classes", ("--masks", "labels", "--nouns", "classes")),
    "shapes_gt_5cap": ("FT, labels and five captions", ("--masks", "labels")),
}
_PROPOSALS = "shapes_maskformer"


def _prepare(folder: str, *words: str) -> tuple[str, ...]:
    images = ("--images", "shapes://train/0/0-5999")
    return ("tools/mine_pairs.py", *images, *words, "--output", f"output/pairs/{folder}")


def _train_on(folder: str) -> tuple[str, str]:
    return "DATASETS.TRAIN", f"('output/pairs/{folder}/pairs.jsonl',)"


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
        Job(job.row, job.config_file, (*job.opts, *whole), weights=(("MODEL.WEIGHTS", job),))
        for row in rows
        for job in row
    ]
    title = f"Masked crops named by ShapesCLIP (prompts of depth 3), Shapes {split}, accuracy (%)"
    return Claim(title, tuple(jobs), COLUMNS)


def adapted_clip(row: str, seed: int) -> Job:
    """The training behind a row of the table, whose CLIP OVSeg takes."""
    return next(job for job in _trainings(seed) if job.row == row)


def _trainings(seed: int) -> list[Job]:
    """The trainings of all rows, evaluated on dev."""

    def train(row: str, config: str, *opts: str) -> Job:
        # Evaluated once, at the end.
        words = ("TEST.EVAL_PERIOD", "0", *opts)
        return Job(row, config, words, seed, prepare=_prepare(_MINED))

    def after(first: Job, row: str, config: str, *opts: str) -> Job:
        return replace(train(row, config, *opts), weights=(("MODEL.WEIGHTS", first),))

    ft, mpt = train("FT", _FT), train("MPT", _MPT)
    trainings = [ft, mpt, after(ft, "FT, then MPT", _FT_MPT), after(mpt, "MPT, then FT", _MPT_FT)]
    trainings.append(train("both at once", _BOTH))
    # The rows above train the encoder for different numbers of steps; these show the effect.
    long = ("SOLVER.MAX_ITER", "900")
    ft_long = train("FT, 900 steps", _FT, *long)
    trainings += [
        after(ft, "FT, then FT", _FT),
        ft_long,
        after(ft_long, "FT, 900 steps, then MPT", _FT_MPT),
        after(mpt, "MPT, then FT, 900 steps", _MPT_FT, *long),
    ]
    for depth in (1, 2, _ALL_BLOCKS):  # the configs have 3
        name = "all" if depth == _ALL_BLOCKS else str(depth)
        words = (_DEPTH, str(depth))
        trainings.append(train(f"MPT, depth {name}", _MPT, *words))
        trainings.append(after(ft, f"FT, then MPT, depth {name}", _FT_MPT, *words))
    for folder, (row, words) in _OTHER_PAIRS.items():
        on_others = train(row, _FT, *_train_on(folder))
        trainings.append(replace(on_others, prepare=_prepare(folder, *words)))
    folder = f"{_PROPOSALS}_{seed}"
    on_proposals = train("FT, OVSeg's proposals and five captions", _FT, *_train_on(folder))
    mining = (*_prepare(folder, "--masks", "maskformer"), "--mask-option")
    of = (("weights=", trained_maskformer(seed)),)
    trainings.append(replace(on_proposals, prepare=mining, prepare_from=of))
    return trainings
