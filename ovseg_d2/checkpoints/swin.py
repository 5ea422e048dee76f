"""Swin Transformers under the names of Swin's detection code."""

import re
from collections.abc import Mapping

from torch import Tensor

from .release import Converted, Release

__all__ = ["RELEASE", "convert_swin"]


def convert_swin(weights: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of a Swin of Swin's detection code to those of `nets.SwinFeatures`.

    There patch merging ends a stage, here it begins the next one.
    """
    renamed, left_out = {}, {}
    for name, value in weights.items():
        if name.endswith("relative_position_index"):
            left_out[name] = "follows from the window size"
            continue
        # A grid of learnt positions, in networks that have one.
        key = re.sub(r"^absolute_pos_embed$", "position_embed", name)
        key = re.sub(
            r"^layers\.(\d+)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", key
        )
        key = re.sub(r"^layers\.", "stages.", key)
        renamed[re.sub(r"^norm(\d)", r"norms.\1", key)] = value
    return Converted(renamed, left_out)


# The classifiers of Swin's own repository, and of MaskFormer's tool that repacks them.
RELEASE = Release(
    name="swin",
    title="a Swin Transformer trained on ImageNet",
    signs=("layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight"),
    holds=frozenset({"backbone"}),
    place="MODEL.TIMM.PRETRAINED",
    convert=None,
)
