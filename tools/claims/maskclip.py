"""MaskCLIP on ShapesCLIP: last blocks, refinements, ceilings and corruptions."""

from collections.abc import Mapping, Sequence
from typing import Any

from ovseg_d2.data.corruptions import CORRUPTIONS, LEVELS

from .jobs import Job
from .tables import Claim, Panels, Point

__all__ = ["COLUMNS", "corruptions_claim", "maskclip_claim"]

_CONFIG = "configs/maskclip.yaml"
_CLEAN = "none"  # row of the images without corruption
_SHOWN = [name for name in CORRUPTIONS if name != "spatter"]  # in docs/results.md
_BLOCK = "MODEL.CLIP.LAST_BLOCK."

# The columns of all segmentation tables of the Shapes world.
COLUMNS: Mapping[str, str] = {
    "base and novel": "mIoU_base_novel",
    "base": "mIoU_base",
    "novel": "mIoU_novel",
    "withheld": "mIoU_withheld",
    "base and novel, own words": "mIoU_base_novel_own_words",
    "withheld, own words": "mIoU_withheld_own_words",
}


def _block(residual: str, mlp: bool, attention: str = "value") -> tuple[str, ...]:
    values = {"RESIDUAL": residual, "MLP": str(mlp), "ATTENTION": attention}
    return tuple(word for key, value in values.items() for word in (_BLOCK + key, value))


_SMOOTH = ("MODEL.MASKCLIP.KEY_SMOOTHING", "1.0")
_DENOISE = ("MODEL.MASKCLIP.PROMPT_DENOISING", "0.5")

_ROWS = {
    "CLIP's ordinary last layer": _block("own", True, "full"),
    "value, no residual, no MLP (the paper's text)": _block("none", False),
    "value, own residual, no MLP": _block("own", False),
    "value, own residual and MLP (the official code)": _block("own", True),
    "value, class token's residual, no MLP": _block("class_token", False),
    "value, class token's residual and MLP (PixelCLIP)": _block("class_token", True),
    "q-q + k-k, own residual and MLP (SCLIP)": _block("own", True, "qq+kk"),
    "q-q, no residual, no MLP (ClearCLIP)": _block("none", False, "qq"),
    "k-k, no residual, no MLP": _block("none", False, "kk"),
    "neighbourhood k-k, no residual, no MLP (NACLIP)": _block("none", False, "neighbourhood_kk"),
    "configs/maskclip.yaml, key smoothing": _SMOOTH,
    "configs/maskclip.yaml, prompt denoising": _DENOISE,
    "configs/maskclip.yaml, both": (*_SMOOTH, *_DENOISE),
    "oracle at patch resolution": ("TEST.CEILING", "patch"),
    "ground-truth masks, MaskCLIP's classifier": ("TEST.CEILING", "gt_masks"),
}


def maskclip_claim(split: str = "val", seeds: int = 3) -> Claim:
    """The table of variants on a split of the Shapes world.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: not used: nothing is trained, and nothing is random.
    """
    del seeds
    test = ("DATASETS.TEST", f"('ovseg_shapes_{split}',)")
    jobs = tuple(Job(row, _CONFIG, (*opts, *test)) for row, opts in _ROWS.items())
    return Claim(f"MaskCLIP on ShapesCLIP, Shapes {split}, mIoU", jobs, COLUMNS)


def corruptions_claim(split: str = "val", seeds: int = 3) -> Claim:
    """MaskCLIP on corrupted images by level, on the first 200 of a split.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: not used: the noise is a function of the image's name.
    """
    del seeds
    few = ("DATASETS.TEST", f"('ovseg_shapes_{split}',)", "TEST.MAX_IMAGES", "200")
    jobs = [Job(_CLEAN, _CONFIG, few)]
    for name in _SHOWN:
        for level in range(1, LEVELS + 1):
            opts = ("INPUT.CORRUPTION.NAME", name, "INPUT.CORRUPTION.LEVEL", str(level))
            jobs.append(Job(f"{name} {level}", _CONFIG, (*opts, *few)))
    columns = {key: COLUMNS[key] for key in ("base and novel", "base and novel, own words")}
    title = f"MaskCLIP on corrupted pictures, Shapes {split}, mIoU"
    return Claim(title, tuple(jobs), columns, _levels, "corruption level")


def _levels(rows: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> Panels:
    """Own-words mIoU against the level, a curve for each corruption."""
    values = [job["mIoU_base_novel_own_words"] for job in numbers]
    clean = [(0, value) for row, value in zip(rows, values, strict=True) if row == _CLEAN]
    curves: dict[str, list[Point]] = {}
    for row, value in zip(rows, values, strict=True):
        if row != _CLEAN:
            name, level = row.rsplit(" ", 1)
            curves.setdefault(name, [*clean]).append((int(level), value))
    return {"mIoU of base and novel classes, own words (%)": curves}
