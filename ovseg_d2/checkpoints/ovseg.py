"""Conversion of OVSeg's releases: Swin or ResNet, MaskFormer's head and a mask-adapted CLIP."""

from collections.abc import Mapping

from torch import Tensor

from .maskformer import convert_segmenter
from .release import OPENAI_MEAN, OPENAI_STD, Converted, Release, below

__all__ = ["RELEASE", "convert_ovseg"]

_NO_OBJECT = "clip_adapter.non_object_embedding"
_CLIP = "clip_adapter.clip_model."
_PROMPTS = f"{_CLIP}visual.mask_embedding"
_STATISTICS = ("clip_adapter.pixel_mean", "clip_adapter.pixel_std")


def convert_ovseg(weights: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of a whole released model to those of our meta-architecture ``OVSeg``.

    Args:
        weights: state dict with names such as ``sem_seg_head.predictor.query_embed.weight``.

    Returns:
        The same tensors under our names; constants are left out.

    Raises:
        ValueError: not a whole model of OVSeg, or weights that no release has.
    """
    if _NO_OBJECT not in weights:
        raise ValueError(
            f"the weights have no {_NO_OBJECT}, so they are not a whole model "
            "of OVSeg's release; for a CLIP alone set MODEL.OVSEG.CLIP_WEIGHTS"
        )
    clip = below(weights, _CLIP)
    prompts = clip.pop(_PROMPTS.removeprefix(_CLIP), None)
    adapter = {_NO_OBJECT, *_STATISTICS}
    rest = {k: v for k, v in weights.items() if k not in adapter and not k.startswith(_CLIP)}
    renamed, left_out = convert_segmenter(rest, "OVSeg's releases")
    renamed["system.no_object_embed"] = weights[_NO_OBJECT]
    if prompts is not None:
        renamed["prompted.prompts"] = prompts
    renamed |= {f"prompted.tower.model.{key}": value for key, value in clip.items()}
    reason = "statistics of the images, which are CLIP's"
    return Converted(renamed, left_out | {k: reason for k in _STATISTICS if k in weights})


RELEASE = Release(
    name="ovseg",
    title="a release of OVSeg",
    signs=(_CLIP, "sem_seg_head.predictor.", "backbone."),
    holds=frozenset({"model", "clip", "backbone"}),
    place="MODEL.WEIGHTS of configs/paper/ovseg_*.yaml",
    convert=convert_ovseg,
    quick_gelu=True,
    mean=OPENAI_MEAN,
    std=OPENAI_STD,
)
