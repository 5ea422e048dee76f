"""MaskCLIP on ShapesCLIP: value features against CLIP's ordinary last layer, and the ceilings."""

from .jobs import Claim, Job

__all__ = ["maskclip_claim"]

_CONFIG = "configs/maskclip.yaml"
_BLOCK = "MODEL.CLIP.LAST_BLOCK."


def _block(residual: str, mlp: bool, attention: str = "value") -> tuple[str, ...]:
    values = {"RESIDUAL": residual, "MLP": str(mlp), "ATTENTION": attention}
    return tuple(word for key, value in values.items() for word in (_BLOCK + key, value))


_ROWS = {
    "CLIP's ordinary last layer": _block("own", True, "full"),
    "value, no residual, no MLP (the paper's text)": _block("none", False),
    "value, own residual and MLP (the official code)": _block("own", True),
    "value, class token's residual and MLP (PixelCLIP)": _block("class_token", True),
    "oracle at patch resolution": ("TEST.CEILING", "patch"),
    "ground-truth masks, MaskCLIP's classifier": ("TEST.CEILING", "gt_masks"),
}


def maskclip_claim(split: str = "val", seeds: int = 3) -> Claim:
    """The table of variants on a split of the Shapes world.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: not used: nothing is trained here, and nothing is drawn.
    """
    del seeds
    test = ("DATASETS.TEST", f"('ovseg_shapes_{split}',)")
    jobs = tuple(Job(row, _CONFIG, (*opts, *test)) for row, opts in _ROWS.items())
    return Claim(
        title=f"MaskCLIP on ShapesCLIP, Shapes {split}, mIoU",
        jobs=jobs,
        columns={
            "base and novel": "mIoU_base_novel",
            "base": "mIoU_base",
            "novel": "mIoU_novel",
            "withheld": "mIoU_withheld",
            "base and novel, own words": "mIoU_base_novel_own_words",
            "withheld, own words": "mIoU_withheld_own_words",
        },
    )
