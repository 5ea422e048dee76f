"""PixelCLIP on the Shapes world: against MaskCLIP, from which it starts, and its ablations."""

from ovseg_d2.data.shapes import CLASS_SETS, CLASSES

from .jobs import Job
from .maskclip import COLUMNS
from .tables import Claim

__all__ = ["pixelclip_ablations_claim", "pixelclip_claim"]

_CONFIG = "configs/pixelclip.yaml"
_KEY = "MODEL.PIXELCLIP."
# Learning rates of systems without learnable clusters.
_FIXED = ("SOLVER.LR_MULTIPLIERS", "[['system.tower', 0.05]]")
_NAMES = [CLASSES[number] for name in ("base", "novel") for number in CLASS_SETS[name]]
_NAMED = (_KEY + "CLUSTERING", "names", _KEY + "CLASS_NAMES", str(_NAMES), *_FIXED)
_ALL_WITHOUT = (_KEY + "CLUSTERING", "none", *_FIXED, _KEY + "TRAINABLE", "full")
# A third of the config's steps: the table takes about two hours on one core.
_SHORT = ("SOLVER.MAX_ITER", "100")

_ABLATIONS: dict[str, tuple[str, ...]] = {
    "PixelCLIP, k = 32, l = 4": (),
    "no clustering": (_KEY + "CLUSTERING", "none", *_FIXED),
    "clusters without the text encoder": (_KEY + "CLUSTERING", "vectors"),
    "no class prompt: names drawn once, not learnt": (_KEY + "LEARNABLE", "False", *_FIXED),
    "no class prompt: the bare tokens, no sentence": (_KEY + "TEMPLATES", "['bare']"),
    "fixed names of all base and novel classes": _NAMED,
    "no momentum encoder": (_KEY + "MOMENTUM", "0.0"),
    "momentum 0.99": (_KEY + "MOMENTUM", "0.99"),
    "momentum 0.9999": (_KEY + "MOMENTUM", "0.9999"),
    "k = 8": (_KEY + "CLUSTERS", "8"),
    "k = 16": (_KEY + "CLUSTERS", "16"),
    "k = 64": (_KEY + "CLUSTERS", "64"),
    "l = 1": (_KEY + "PROMPT_LENGTH", "1"),
    "l = 2": (_KEY + "PROMPT_LENGTH", "2"),
    "l = 8": (_KEY + "PROMPT_LENGTH", "8"),
    "three templates in training": (
        _KEY + "TEMPLATES",
        "['a photo of {}', 'a picture of {}', 'there is {}']",
    ),
    "not balanced": (_KEY + "SINKHORN_ITERS", "0"),
    "the paper's views": (
        *("INPUT.VIEWS.DISTORT_WEAK", "True", "INPUT.VIEWS.JITTER", "[0.5, 0.5, 0.5, 0.25]"),
        *("INPUT.VIEWS.GREY_PROB", "0.2"),
    ),
    # Settings that might gain more with the full vocabulary.
    "fixed names, not balanced": (*_NAMED, _KEY + "SINKHORN_ITERS", "0"),
    "image encoder at four times the rate": (
        "SOLVER.LR_MULTIPLIERS",
        "[['system.tower', 0.2], ['system.clusters', 0.5]]",
    ),
    "no clustering, all of the image encoder trained": _ALL_WITHOUT,
}


def pixelclip_claim(split: str = "val", seeds: int = 3) -> Claim:
    """PixelCLIP with masks of two sources, against MaskCLIP on the same CLIP.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings of each mask source.
    """
    test = _test(split)
    jobs = [
        Job("MaskCLIP (configs/maskclip.yaml)", "configs/maskclip.yaml", test),
        Job("the same at PixelCLIP's picture size, untrained", _CONFIG, test),
    ]
    rows = {
        f"PixelCLIP, masks of {source}": ("INPUT.MASKS.SOURCE", source)
        for source in ("shapes", "felzenszwalb")
    }
    rows["the first without clusters, all of the image encoder trained"] = _ALL_WITHOUT
    for row, opts in rows.items():
        jobs += [Job(row, _CONFIG, (*opts, *test), seed=seed) for seed in range(seeds)]
    return Claim(f"PixelCLIP, Shapes {split}, mIoU", tuple(jobs), COLUMNS)


def pixelclip_ablations_claim(split: str = "val", seeds: int = 3) -> Claim:
    """Ablations of the paper and of the departures from it, all of 100 steps.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings a row.
    """
    jobs = [
        Job(row, _CONFIG, (*opts, *_SHORT, *_test(split)), seed=seed)
        for row, opts in _ABLATIONS.items()
        for seed in range(seeds)
    ]
    return Claim(f"PixelCLIP's ablations, Shapes {split}, mIoU", tuple(jobs), COLUMNS)


def _test(split: str) -> tuple[str, ...]:
    """Evaluate all images of a split once, after the training."""
    dataset = f"('ovseg_shapes_{split}',)"
    return ("DATASETS.TEST", dataset, "TEST.MAX_IMAGES", "0", "TEST.EVAL_PERIOD", "0")
