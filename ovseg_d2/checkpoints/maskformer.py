"""Conversion of MaskFormer's releases, and of the parts that OVSeg's releases share with them.

The patterns in `_HEAD` are names of the official code of MaskFormer (facebookresearch/MaskFormer)
and of [ovseg] after it.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from .release import Converted, Release, below
from .swin import convert_swin

__all__ = ["RELEASE", "convert_maskformer", "convert_proposal_head", "convert_segmenter"]

_HEAD = (
    (r"pixel_decoder\.(adapter|layer)_(\d)\.norm", r"pixel_decoder.\1.\2.norm"),
    (r"pixel_decoder\.(adapter|layer)_(\d)\.weight", r"pixel_decoder.\1.\2.conv.weight"),
    (r"pixel_decoder\.(transformer\.encoder|input_proj)", r"pixel_decoder.encoder.\1"),
    (r"predictor\.transformer\.encoder\.", "transformer_decoder.encoder."),
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
_CLASSES = ("sem_seg_head.predictor.class_embed.weight", "sem_seg_head.predictor.class_embed.bias")
_BACKBONE, _SEGMENTER = "backbone.", "sem_seg_head."
_CRITERION = "criterion."


def convert_maskformer(weights: Mapping[str, Tensor]) -> Converted:
    """Rename backbone and head of a MaskFormer to those of our meta-architecture ``OVSeg``.

    Args:
        weights: state dict with names such as ``sem_seg_head.predictor.query_embed.weight``.

    Raises:
        ValueError: weights that no release has.
    """
    renamed, left_out = convert_segmenter(
        {k: v for k, v in weights.items() if k not in _CLASSES}, "MaskFormer's releases"
    )
    reason = "classes of the training; OVSeg's classes are texts"
    return Converted(renamed, left_out | {name: reason for name in _CLASSES if name in weights})


def convert_segmenter(
    weights: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rename backbone, head and criterion; arguments and errors are those of the whole models.

    Args:
        weights: all other weights have been taken out.
        source: the releases, for the error.

    Returns:
        Weights and reasons, as in `Converted`.
    """
    left_out = {k: "a constant of the losses" for k in weights if k.startswith(_CRITERION)}
    left_out |= {
        k: "statistics of the images, which the config gives"
        for k in weights
        if k in ("pixel_mean", "pixel_std")
    }
    backbone = below(weights, _BACKBONE)
    if "patch_embed.proj.weight" in backbone:
        swin = convert_swin(backbone)
        backbone = {f"network.{key}": value for key, value in swin.weights.items()}
        left_out |= {_BACKBONE + key: reason for key, reason in swin.left_out.items()}
    renamed = {f"system.backbone.{key}": value for key, value in backbone.items()}
    head = convert_proposal_head(below(weights, _SEGMENTER))
    renamed |= {f"system.head.{key}": value for key, value in head.items()}
    known = (_BACKBONE, _SEGMENTER)
    unknown = [key for key in weights if not key.startswith(known) and key not in left_out]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a weight of {source}; give a file as published")
    return renamed, left_out


def convert_proposal_head(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights of a MaskFormer head (``pixel_decoder.``...) to `nets.ProposalHead`'s."""
    renamed = {}
    for key, value in weights.items():
        # Without version metadata the official code writes this prefix twice; its first version
        # writes none.
        key = key.replace("pixel_decoder.pixel_decoder.", "pixel_decoder.")
        if not key.startswith(("pixel_decoder.", "predictor.")):
            key = f"pixel_decoder.{key}"
        for pattern, replacement in _HEAD:
            key = re.sub(pattern, replacement, key)
        # The release counts maps from 1; our networks count the ReLUs between linear layers.
        key = re.sub(r"adapter\.(\d)", lambda m: f"laterals.{int(m[1]) - 1}", key)
        key = re.sub(r"layer\.(\d)", lambda m: f"convs.{int(m[1]) - 1}", key)
        key = re.sub(r"network\.layers\.(\d)", lambda m: f"network.{2 * int(m[1])}", key)
        renamed[key] = value
    return renamed


RELEASE = Release(
    name="maskformer",
    title="a release of MaskFormer",
    signs=(
        "sem_seg_head.predictor.class_embed.",
        "sem_seg_head.predictor.transformer.decoder.layers.0.",  # Mask2Former has none
    ),
    holds=frozenset({"backbone"}),
    place="MODEL.WEIGHTS of a training of OVSegMaskFormer on its backbone",
    convert=convert_maskformer,
)
