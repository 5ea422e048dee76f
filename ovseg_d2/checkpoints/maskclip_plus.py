"""Conversion of MaskCLIP+'s released students: mmseg's ResNetV1c with a DeepLab head.

Names are those of the official code of [maskclip]: mmseg/models/backbones/resnet.py, and under
mmseg/models/decode_heads maskclip_plus_head.py, aspp_headv2.py and sep_aspp_head.py.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .release import Converted, Release, below

__all__ = ["RELEASE", "convert_maskclip_plus"]

_MODULE = "decode_head.decode_module."
_BACKGROUND = "decode_head.bg_embeddings"
_POOL = f"{_MODULE}image_pool.1."
_STUDENT = "system.student."
_BACKBONE = f"{_STUDENT}network.backbone.network.network."
_HEAD = f"{_STUDENT}network.head.layers."
_TEACHER = "of the teacher, which MODEL.CLIP.PRETRAINED gives"
_LEFT_OUT = {
    "decode_head.text_embeddings": "texts of the training's classes, which CLIP encodes",
    "decode_head._iter_counter": "the training's counter of iterations",
    "decode_head.clip.": _TEACHER,
    **{
        f"decode_head.{name}.": _TEACHER
        for name in ("proj", "q_proj", "k_proj", "v_proj", "c_proj")
    },
}
_EPSILON = 1e-5  # of mmseg's batch norms
_PARTS = (
    (r"^aspp_modules\.", "branches."),
    (r"^bottleneck\.", "project."),
    (r"^c1_bottleneck\.", "reduce."),
    (r"^sep_bottleneck\.", "fuse."),
    (r"\.depthwise_conv\.conv\.", ".0."),
    (r"\.depthwise_conv\.bn\.", ".1."),
    (r"\.pointwise_conv\.conv\.", ".3."),
    (r"\.pointwise_conv\.bn\.", ".4."),
    (r"\.conv\.", ".0."),
    (r"\.bn\.", ".1."),
)


def convert_maskclip_plus(weights: Mapping[str, Tensor]) -> Converted:
    """Rename a student's weights to those of our meta-architecture ``MaskCLIPPlus``.

    The branch of the image's mean has a batch norm there and a bias here: the norm, as it is in
    evaluation, becomes part of the convolution.

    Args:
        weights: state dict with names such as ``decode_head.decode_module.aspp_modules.0.bn.bias``.

    Raises:
        ValueError: weights that no release has.
    """
    renamed, left_out = {}, {}
    for name, value in weights.items():
        reason = next((why for start, why in _LEFT_OUT.items() if name.startswith(start)), None)
        if reason is not None:
            left_out[name] = reason
        elif name.startswith("backbone."):
            ours = re.sub(r"^stem\.7\.", "bn1.", name.removeprefix("backbone."))
            renamed[_BACKBONE + re.sub(r"^stem\.", "conv1.", ours)] = value
        elif name.startswith(_POOL):
            if name.endswith("num_batches_tracked"):
                left_out[name] = "a counter of a norm that becomes part of its convolution"
        elif name.startswith(_MODULE):
            ours = name.removeprefix(_MODULE)
            for pattern, part in _PARTS:
                ours = re.sub(pattern, part, ours)
            renamed[_HEAD + ours] = value
        elif name == _BACKGROUND:
            renamed[f"{_STUDENT}classifier.background"] = value.flatten()
        else:
            raise ValueError(
                f"{name!r} is not a weight of MaskCLIP+'s releases; give a file as published"
            )
    renamed |= _joined(below(weights, _POOL))
    return Converted(renamed, left_out)


def _joined(pool: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolution of the image's mean with its norm in it; {} if there is none."""
    if not pool:
        return {}
    names = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    parts = [pool.get(name, torch.empty(0)) for name in names]
    conv, weight, bias, mean, variance = parts
    if conv.ndim != 4 or any(part.shape != conv.shape[:1] for part in parts[1:]):
        raise ValueError(
            f"{_POOL}conv.weight and its norm are not of the same width; give a file as published"
        )
    factor = weight / (variance + _EPSILON).sqrt()
    return {
        f"{_HEAD}image_pool.0.weight": conv * factor[:, None, None, None],
        f"{_HEAD}image_pool.0.bias": bias - mean * factor,
    }


RELEASE = Release(
    name="maskclip_plus",
    title="a release of MaskCLIP+",
    signs=("decode_head.decode_module.", "decode_head.text_embeddings", "backbone."),
    holds=frozenset({"model", "backbone", "texts"}),
    place="MODEL.WEIGHTS of configs/paper/maskclip_plus_*.yaml",
    convert=convert_maskclip_plus,
)
