"""Conversion of the image halves of CLIP that MaskCLIP's code extracts, to open_clip's names.

The names are those of the official tools/maskclip_utils/convert_clip_weights.py of [maskclip]:
mmseg's of a ViT or a ResNet, with the prefix `backbone.` in `*_clip_backbone.pth`; without it, and
beside the projections, in `*_clip_weights.pth`.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .release import OPENAI_MEAN, OPENAI_STD, Converted, Release

__all__ = ["RELEASES", "convert_maskclip", "flatten_maskclip"]

_BACKBONE = "backbone."
_STEM = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3", "7": "bn3"}
_NAMES = {
    "cls_token": "class_embedding",
    "pos_embed": "positional_embedding",
    "patch_embed.projection.weight": "conv1.weight",
    "proj.weight": "proj",
}
_PARTS = (
    (r"^ln0\.", "ln_pre."),
    (r"^ln1\.", "ln_post."),
    (r"^layers\.", "transformer.resblocks."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.c_fc."),
    (r"\.ffn\.layers\.1\.", ".mlp.c_proj."),
    (r"\.attn\.attn\.", ".attn."),
    (r"\.ln(\d)\.", r".ln_\1."),
    (r"^([qkvc]_proj)\.", r"attnpool.\1."),
)


def flatten_maskclip(content: Any) -> Any:
    """Make one state dict of `*_clip_weights.pth`; other contents are unchanged.

    Such a file holds the entry "clip" with the network, and a dict for each projection.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("clip"), Mapping):
        return content
    state = dict(content["clip"])
    for name, part in content.items():
        if name != "clip" and isinstance(part, Mapping):
            state |= {f"{name}.{key}": value for key, value in part.items()}
    return state


def convert_maskclip(weights: Mapping[str, Tensor]) -> Converted:
    """Rename an extracted image half.

    Args:
        weights: state dict, with or without the prefix ``backbone.``.

    Returns:
        The tensors under open_clip's names, such as ``visual.conv1.weight``. A ResNet has no
        ``visual.attnpool.positional_embedding``, and a file without projections no ``visual.proj``
        and no other ``visual.attnpool.``; unknown names are unchanged below ``visual.``.
    """
    renamed = {}
    for name, value in weights.items():
        name = name.removeprefix(_BACKBONE)
        ours = _NAMES.get(name, name)
        if name == "cls_token":  # there (1, 1, C)
            value = value.flatten()
        elif name == "pos_embed":  # there (1, N, C)
            value = value.squeeze(0)
        elif name == "proj.weight" and value.ndim == 2:  # there a linear layer, here a matrix
            value = value.t()
        for pattern, part in _PARTS:
            ours = re.sub(pattern, part, ours)
        ours = re.sub(r"^stem\.([013467])\.", lambda match: f"{_STEM[match[1]]}.", ours)
        # There the pooling in a shortcut has a number too.
        ours = re.sub(
            r"\.downsample\.(\d)\.", lambda match: f".downsample.{int(match[1]) - 1}.", ours
        )
        renamed[f"visual.{ours}"] = value
    return Converted(renamed)


def _release(prefix: str, *signs: str) -> Release:
    return Release(
        name="maskclip",
        title="an image half of OpenAI's CLIP that MaskCLIP's code extracted",
        signs=tuple(prefix + sign for sign in signs),
        holds=frozenset({"clip_image"}),
        place="MODEL.CLIP.IMAGE_WEIGHTS, with a whole CLIP in MODEL.CLIP.PRETRAINED",
        convert=convert_maskclip,
        quick_gelu=True,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    )


RELEASES = tuple(
    _release(prefix, *signs)
    for prefix in ("", _BACKBONE)
    for signs in (
        ("cls_token", "ln0.", "layers.0.attn.attn."),
        ("stem.7.", "layer1.0.downsample.2.running_mean"),
    )
)
