"""Conversion of OVSeg's releases: Swin or ResNet, MaskFormer's head and a mask-adapted CLIP.

The patterns in `_HEAD` are names of the official code of [ovseg], facebookresearch/ov-seg.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["convert_ovseg", "convert_proposal_head", "convert_swin"]

Weights = dict[str, Tensor]

_HEAD = (
    (r"pixel_decoder\.(adapter|layer)_(\d)\.norm", r"pixel_decoder.\1.\2.norm"),
    (r"pixel_decoder\.(adapter|layer)_(\d)\.weight", r"pixel_decoder.\1.\2.conv.weight"),
    (r"pixel_decoder\.(transformer\.encoder|input_proj)", r"pixel_decoder.encoder.\1"),
    (r"transformer\.encoder\.", ""),
    (r"pixel_decoder\.mask_features", "pixel_decoder.mask_conv"),
    (r"predictor\.(transformer\.decoder|input_proj)", r"transformer_decoder.\1"),
    (r"transformer\.decoder\.", ""),
    (r"input_proj", "project"),
    (r"predictor\.query_embed", "transformer_decoder.query_positions"),
    (r"self_attn", "self_attention.attention"),
    (r"multihead_attn", "cross_attention.attention"),
    (r"linear1", "feed_forward.hidden"),
    (r"linear2", "feed_forward.out"),
    (r"(\.layers\.\d+)\.norm1", r"\1.self_attention.norm"),
    (r"(transformer_decoder\.layers\.\d+)\.norm2", r"\1.cross_attention.norm"),
    (r"(\.layers\.\d+)\.norm[23]", r"\1.feed_forward.norm"),
    (r"predictor\.mask_embed", "mask_network"),
    (r"predictor\.class_embed", "query_network"),
)

_CLIP = "clip_adapter.clip_model."
_PROMPTS = f"{_CLIP}visual.mask_embedding"
# Constants, and buffers that follow from the config.
_LEFT_OUT = ("criterion.", "clip_adapter.pixel_", "pixel_mean", "pixel_std")


def convert_ovseg(weights: Mapping[str, Tensor]) -> Weights:
    """Rename the weights of a whole released model to those of our meta-architecture ``OVSeg``.

    Args:
        weights: state dict with names such as ``sem_seg_head.predictor.query_embed.weight``.

    Returns:
        The same tensors under our names; constants are left out.

    Raises:
        ValueError: not a whole model of OVSeg, or weights that no release has.
    """
    if "clip_adapter.non_object_embedding" not in weights:
        raise ValueError(
            "the weights have no clip_adapter.non_object_embedding, so they are not a whole model "
            "of OVSeg's release; for a CLIP alone set MODEL.OVSEG.CLIP_WEIGHTS"
        )
    renamed: Weights = {}
    backbone = _below(weights, "backbone.")
    if "patch_embed.proj.weight" in backbone:
        backbone = {f"network.{key}": value for key, value in convert_swin(backbone).items()}
    renamed |= {f"system.backbone.{key}": value for key, value in backbone.items()}
    head = convert_proposal_head(_below(weights, "sem_seg_head."))
    renamed |= {f"system.head.{key}": value for key, value in head.items()}
    renamed["system.no_object_embed"] = weights["clip_adapter.non_object_embedding"]
    if _PROMPTS in weights:
        renamed["prompted.prompts"] = weights[_PROMPTS]
    clip = _below(weights, _CLIP)
    clip.pop(_PROMPTS.removeprefix(_CLIP), None)
    renamed |= {f"prompted.tower.model.{key}": value for key, value in clip.items()}
    known = ("backbone.", "sem_seg_head.", "clip_adapter.non_object_embedding", _CLIP, *_LEFT_OUT)
    unknown = [key for key in weights if not key.startswith(known)]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is not a weight of OVSeg's releases; give a file as published"
        )
    return renamed


def convert_proposal_head(weights: Mapping[str, Tensor]) -> Weights:
    """Rename weights of a MaskFormer head (``pixel_decoder.``...) to `nets.ProposalHead`'s."""
    renamed = {}
    for key, value in weights.items():
        # Without version metadata the official code writes this prefix twice.
        key = key.replace("pixel_decoder.pixel_decoder.", "pixel_decoder.")
        for pattern, replacement in _HEAD:
            key = re.sub(pattern, replacement, key)
        # The release counts maps from 1; our networks count the ReLUs between linear layers.
        key = re.sub(r"adapter\.(\d)", lambda m: f"laterals.{int(m[1]) - 1}", key)
        key = re.sub(r"layer\.(\d)", lambda m: f"convs.{int(m[1]) - 1}", key)
        key = re.sub(r"network\.layers\.(\d)", lambda m: f"network.{2 * int(m[1])}", key)
        renamed[key] = value
    return renamed


def convert_swin(weights: Mapping[str, Tensor]) -> Weights:
    """Rename the weights of a Swin of Swin's detection code to those of `nets.SwinFeatures`.

    There patch merging ends a stage, here it begins the next one.
    """
    renamed = {}
    for key, value in weights.items():
        if key.endswith("relative_position_index"):
            continue
        key = re.sub(
            r"^layers\.(\d+)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", key
        )
        key = re.sub(r"^layers\.", "stages.", key)
        renamed[re.sub(r"^norm(\d)", r"norms.\1", key)] = value
    return renamed


def _below(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
