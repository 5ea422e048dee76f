"""Prompt templates: sentences with a place for the class name.

Sources: the 80 ImageNet templates of CLIP [clip] (Sec. 3.1.4), from open_clip; the 14 of ViLD as
used by OVSeg [ovseg]; MaskCLIP's [maskclip] 85, which are the 80 and five about a scene;
PixelCLIP's [pixelclip] one for training, and its eight for inference: that one and the seven best
of CLIP's 80, also from open_clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

__all__ = ["TEMPLATE_SETS", "get_templates"]

# ViLD's sentences without a size, and those with each size.
_VILD_PLAIN = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
)
_VILD_SIZED = (
    "a photo of a %s {}.",
    "This is a photo of a %s {}.",
    "There is a %s {} in the scene.",
)
_VILD_SIZES = ("small", "medium", "large")

_SCENE = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

_PIXELCLIP = "a photo of a {} in the scene"


def _vild() -> tuple[str, ...]:
    return _VILD_PLAIN + tuple(t % size for t in _VILD_SIZED for size in _VILD_SIZES)


def _imagenet() -> tuple[str, ...]:
    # Imported at use: open_clip takes seconds to import.
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def _maskclip() -> tuple[str, ...]:
    return _imagenet() + _SCENE


def _pixelclip() -> tuple[str, ...]:
    from open_clip import SIMPLE_IMAGENET_TEMPLATES

    return (*(template("{}") for template in SIMPLE_IMAGENET_TEMPLATES), _PIXELCLIP)


# Values are functions, so that the names of the sets need no import.
TEMPLATE_SETS: Mapping[str, Callable[[], tuple[str, ...]]] = MappingProxyType(
    {
        "bare": lambda: ("{}",),
        "single": lambda: ("a photo of a {}.",),
        "imagenet": _imagenet,
        "vild": _vild,
        "maskclip": _maskclip,
        "pixelclip": _pixelclip,
        "pixelclip_single": lambda: (_PIXELCLIP,),
    }
)


def get_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Return the templates of a set, or check a list of templates.

    Args:
        templates: a key of `TEMPLATE_SETS`, or templates that each hold ``{}`` exactly once.

    Returns:
        T templates, in order.

    Raises:
        ValueError: an unknown name, an empty list, or a template without exactly one ``{}``.
    """
    if isinstance(templates, str):
        if templates not in TEMPLATE_SETS:
            raise ValueError(
                f"templates {templates!r} is no template set; "
                f"choose from {sorted(TEMPLATE_SETS)} or give a list of templates"
            )
        return TEMPLATE_SETS[templates]()
    if not templates:
        raise ValueError(f"templates is empty; give a list or one of {sorted(TEMPLATE_SETS)}")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"template {template!r} holds {template.count('{}')} times '{{}}'; "
                "each template needs exactly one, where the class name goes"
            )
    return tuple(templates)
