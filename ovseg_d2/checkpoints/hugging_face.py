"""Conversion of CLIPs in the layout of Hugging Face's transformers to open_clip's names.

The layout is that of transformers' `CLIPModel`, `CLIPVisionModel`, `CLIPVisionModelWithProjection`,
`CLIPTextModel` and `CLIPTextModelWithProjection` (models/clip/modeling_clip.py).
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["convert_hugging_face_clip", "hugging_face_prefix"]

# A name of each half.
_SIGNS = (
    "vision_model.embeddings.patch_embedding.weight",
    "text_model.embeddings.token_embedding.weight",
)
_NAMES = {
    "logit_scale": "logit_scale",
    "text_projection.weight": "text_projection",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "visual_projection.weight": "visual.proj",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
}
# There a linear layer, here a matrix that is multiplied from the right.
_TRANSPOSED = ("text_projection", "visual.proj")
_PARTS = (
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # misspelt there
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
)
_QKV = re.compile(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)")


def hugging_face_prefix(names: Iterable[str]) -> str | None:
    """Return the prefix of a CLIP's names in this layout; None if there is no such CLIP."""
    for name in names:
        for sign in _SIGNS:
            if name.endswith(sign) and name.removesuffix(sign)[-1:] in ("", "."):
                return name.removesuffix(sign)
    return None


def convert_hugging_face_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a ViT's CLIP, or one half of it, to open_clip's names.

    Args:
        weights: state dict, without a prefix.

    Returns:
        The tensors under open_clip's names, the projections of queries, keys and values as one.
        Position ids are left out, other unknown names are unchanged.
    """
    renamed: dict[str, Tensor] = {}
    attention: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, value in weights.items():
        if name.endswith("embeddings.position_ids"):
            continue
        if match := _QKV.fullmatch(name):
            attention.setdefault((match[1], match[3]), {})[match[2]] = value
            continue
        ours = _NAMES.get(name) or _rename(name)
        renamed[ours] = value.t() if ours in _TRANSPOSED and value.ndim == 2 else value
    for (block, kind), parts in attention.items():
        shapes = {value.shape for value in parts.values()}
        if parts.keys() == set("qkv") and len(shapes) == 1 and shapes.pop():
            joined = torch.cat([parts[part] for part in "qkv"])
            renamed[f"{_rename(f'{block}.')}attn.in_proj_{kind}"] = joined
        else:
            renamed |= {f"{block}.self_attn.{part}_proj.{kind}": v for part, v in parts.items()}
    return renamed


def _rename(name: str) -> str:
    for pattern, ours in _PARTS:
        name = re.sub(pattern, ours, name)
    return name
