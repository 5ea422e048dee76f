"""OVSeg on the Shapes world: its two oracles, its lambda, and its branches alone."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ovseg_d2.engine.lambda_sweep import lambda_key

from .jobs import Job
from .mask_adapted_clip import adapted_clip
from .maskclip import COLUMNS
from .maskformer import trained_maskformer
from .tables import Claim, Panels, Point

__all__ = ["LAMBDAS", "lambda_claim", "oracles_claim", "ovseg_claim"]

_CONFIG = "configs/ovseg.yaml"
# Name of the adapted CLIP -> its row in the table of ways to adapt, and its lambda, chosen on dev
# like the config's for the untuned CLIP.
_ADAPTED: Mapping[str, tuple[str, float]] = {
    "mask-adapted CLIP": ("FT, then MPT", 0.5),
    "prompts-first CLIP": ("MPT, then FT", 0.3),
    "longer-adapted CLIP": ("MPT, then FT, 900 steps", 0.6),
}
LAMBDAS = tuple(round(0.1 * step, 1) for step in range(11))


def _tests(split: str) -> tuple[str, ...]:
    return "DATASETS.TEST", f"('ovseg_shapes_{split}',)", "TEST.MAX_IMAGES", "0"


def _after(row: str, seeds: int, opts: Sequence[str], *, adapted: str = "") -> list[Job]:
    """Evaluations of each training, with an adapted CLIP of the same seed or the untuned one."""
    jobs = []
    for seed in range(seeds):
        weights = [("MODEL.WEIGHTS", trained_maskformer(seed))]
        if adapted:
            weights.append(("MODEL.OVSEG.CLIP_WEIGHTS", adapted_clip(adapted, seed)))
        jobs.append(Job(row, _CONFIG, tuple(opts), weights=tuple(weights)))
    return jobs


def oracles_claim(split: str = "val", seeds: int = 3) -> Claim:
    """The bottleneck: perfect masks with CLIP's names, or proposals with perfect names.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings of the MaskFormer; ground-truth masks need none.
    """
    test = _tests(split)
    masks = (*test, "TEST.CEILING", "gt_masks")
    background = ("MODEL.OVSEG.CROP.FILL", "none")
    jobs = (
        Job("ground-truth masks, CLIP's names, background masked", _CONFIG, masks),
        Job("ground-truth masks, CLIP's names, background left in", _CONFIG, (*masks, *background)),
        *_after("proposals, CLIP's names, background masked", seeds, (*test, *_lambda(1.0))),
        *_after(
            "proposals, CLIP's names, background left in",
            seeds,
            (*test, *_lambda(1.0), *background),
        ),
        *_after("proposals, names of the truth", seeds, (*test, "TEST.CEILING", "gt_labels")),
    )
    return Claim(f"OVSeg's oracles, Shapes {split}, mIoU", jobs, COLUMNS)


def _lambda(lam: float) -> tuple[str, str]:
    return "MODEL.OVSEG.LAMBDA", str(lam)


def lambda_claim(split: str = "dev", seeds: int = 3) -> Claim:
    """The mIoU at all lambdas, in one pass per training, with untuned and adapted CLIP.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings of the MaskFormer and of the mask-adapted CLIP.
    """
    opts = (*_tests(split), "TEST.LAMBDAS", str(list(LAMBDAS)))
    jobs = _after("untuned CLIP", seeds, opts)
    for name, (how, _) in _ADAPTED.items():
        jobs += _after(name, seeds, opts, adapted=how)
    title = f"OVSeg over lambda, Shapes {split}, mIoU"
    label = "lambda (0: proposals alone, 1: CLIP alone)"
    return Claim(title, tuple(jobs), COLUMNS, _curves, label, expand=_rows)


def _rows(row: str, numbers: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """One row for each lambda of a sweep."""
    return {
        f"{row}, lambda {lam:.1f}": {key: numbers[lambda_key(key, lam)] for key in COLUMNS.values()}
        for lam in LAMBDAS
    }


def _curves(rows: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> Panels:
    """The mean over trainings against lambda, a curve for each kind of CLIP."""
    key = COLUMNS["base and novel"]
    curves: dict[str, list[Point]] = {}
    for row in dict.fromkeys(rows):
        seeds = [job for job_row, job in zip(rows, numbers, strict=True) if job_row == row]
        curves[row] = [
            (lam, statistics.mean(job[lambda_key(key, lam)] for job in seeds)) for lam in LAMBDAS
        ]
    return {"mIoU of base and novel classes (%)": curves}


def ovseg_claim(split: str = "val", seeds: int = 3) -> Claim:
    """OVSeg against each of its branches, and against MaskCLIP.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings of the MaskFormer and of the mask-adapted CLIP.
    """
    test = _tests(split)
    jobs = [
        Job("MaskCLIP", "configs/maskclip.yaml", test),
        *_after("MaskFormer's names alone, lambda 0", seeds, (*test, *_lambda(0.0))),
    ]
    clip_alone = (*test, *_lambda(1.0))
    jobs += _after("untuned CLIP's names alone, lambda 1", seeds, clip_alone)
    jobs += _after("OVSeg with untuned CLIP", seeds, test)
    for name, (how, lam) in _ADAPTED.items():
        both = (*test, *_lambda(lam))
        jobs += _after(f"{name}'s names alone, lambda 1", seeds, clip_alone, adapted=how)
        jobs += _after(f"OVSeg with {name}", seeds, both, adapted=how)
    return Claim(f"OVSeg, Shapes {split}, mIoU", tuple(jobs), COLUMNS)
