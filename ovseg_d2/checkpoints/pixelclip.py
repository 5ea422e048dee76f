"""Conversion of PixelCLIP's releases: CLIP, its teacher, cluster prompts and the decoder."""

import re
from collections.abc import Mapping

from torch import Tensor

from .release import OPENAI_MEAN, OPENAI_STD, Converted, Release, below

__all__ = ["RELEASES", "convert_pixelclip", "convert_pixelclip_decoder"]

_CLIP = "sem_seg_head.predictor.clip_model."
_PROMPTS = "sem_seg_head.predictor.prompt_tokens"
_TEACHER, _DECODER = "teacher_encoder.", "head."
# Parts of the decoder in the official code of [pixelclip], and ours.
_LAYERS = (
    (r"^conv0\.", "stem."),
    (r"^conv(\d)\.double_conv\.", r"convs\1."),
    (r"^proj\.", "head."),
)


def convert_pixelclip(weights: Mapping[str, Tensor]) -> Converted:
    """Rename the weights of a released model to those of our meta-architecture ``PixelCLIP``.

    Args:
        weights: state dict with names such as ``sem_seg_head.predictor.prompt_tokens``.

    Raises:
        ValueError: weights that no release has.
    """
    renamed, left_out = {}, {}
    for name, value in weights.items():
        if name.startswith(_CLIP):
            renamed[f"system.tower.model.{name.removeprefix(_CLIP)}"] = value
        elif name.startswith(f"{_TEACHER}visual."):
            renamed[f"system.teacher.{name.removeprefix(f'{_TEACHER}visual.')}"] = value
        elif name.startswith(_TEACHER):
            left_out[name] = "the teacher's text half, a copy that nothing reads"
        elif name == _PROMPTS:
            renamed["system.clusters.token_embeds"] = value
        elif not name.startswith(_DECODER):
            raise ValueError(
                f"{name!r} is not a weight of PixelCLIP's releases; give a file as published"
            )
    decoder = convert_pixelclip_decoder(below(weights, _DECODER))
    renamed |= {f"system.decoder.{key}": value for key, value in decoder.items()}
    return Converted(renamed, left_out)


def convert_pixelclip_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the decoder's weights (``conv0.``...) to those of `nets.PixelCLIPDecoder`."""
    renamed = {}
    for key, value in weights.items():
        for pattern, ours in _LAYERS:
            key = re.sub(pattern, ours, key)
        renamed[key] = value
    return renamed


def _release(image_half: str, quick_gelu: bool, config: str) -> Release:
    return Release(
        name="pixelclip",
        title="a release of PixelCLIP",
        signs=(f"{_CLIP}visual.{image_half}", _TEACHER),
        holds=frozenset({"model", "clip"}),
        place=f"MODEL.WEIGHTS of configs/paper/pixelclip_{config}_*.yaml",
        convert=convert_pixelclip,
        quick_gelu=quick_gelu,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    )


# The official predictor loads OpenAI's CLIP for a ViT and open_clip's for a ConvNeXt; both take
# the statistics of pixelclip/config.py.
RELEASES = (_release("conv1.", True, "vitb16"), _release("trunk.", False, "convnextb"))
