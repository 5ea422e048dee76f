"""Captions of the Shapes world: one to five of each image."""

import re

import numpy as np

from .classes import CLASS_SETS, CLASSES, COLORS, GROUNDS, KINDS, article
from .scene import SPLITS, VERSION, Scene

_FRAMES = {
    "{}": 0.5,
    "a photo of {}": 0.3,
    "a picture of {}": 0.1,
    "there is {} in the scene": 0.1,
}
_SINGLE_SHARE = 0.75  # of captions: those that name one thing
_OBJECT_SHARE = 0.7  # of those, in scenes with objects: those that name an object
_CAPTION_STREAM = 7  # separates the random numbers of captions from those of pixels
_THING = re.compile(
    rf"\b(?:an? )?(?P<color>{'|'.join(COLORS)}) (?P<kind>{'|'.join(KINDS)})\b"
    rf"|\b(?P<ground>{'|'.join(GROUNDS)})\b"
)
_CAPTIONED = frozenset(
    CLASSES[i] for name, ids in CLASS_SETS.items() if name != "withheld" for i in ids
)
_KIND_SHARE = 0.7  # of the wrong names of an object: those with another kind, not colour


def write_captions(scene: Scene, split: str, seed: int, index: int) -> tuple[str, ...]:
    """Write one to five distinct captions of a scene, in random order.

    Args:
        scene: result of :func:`~.scene.render_scene` for (split, seed, index).
        split: split of the scene.
        seed: seed of the scene.
        index: index of the scene.
    """
    stream = [VERSION, SPLITS.index(split), seed, index, _CAPTION_STREAM]
    rng = np.random.Generator(np.random.PCG64(stream))
    things = [article(CLASSES[o.class_id]) for o in scene.objects]
    grounds = [CLASSES[i] for i in scene.ground_ids]
    captions: dict[str, None] = {}
    for _ in range(int(rng.integers(1, 6))):
        if rng.random() < _SINGLE_SHARE or not things:
            named = things if things and rng.random() < _OBJECT_SHARE else grounds
            content = named[int(rng.integers(len(named)))]
        else:
            content = _sentence(rng, things, grounds)
        frame = np.searchsorted(np.cumsum(list(_FRAMES.values())), rng.random(), side="right")
        captions[list(_FRAMES)[min(int(frame), len(_FRAMES) - 1)].format(content)] = None
    return tuple(captions)


def write_negatives(
    caption: str, captions: tuple[str, ...], rng: np.random.Generator, count: int
) -> tuple[str, ...]:
    """Wrong captions of an image: one word of a right one changed ("a red ring" for a red star).

    They are made of the captions alone, not of the image.

    Paper: [negclip] Sec. 4.1, hard negative captions.
    Departs: a word is replaced by another colour, kind or ground, where the paper swaps two words.

    Args:
        caption: a right caption.
        captions: all captions of the image; a class that they name is never a wrong name.
        rng: source of all randomness.
        count: largest number of wrong captions.

    Returns:
        At most ``count`` distinct texts; none for a caption that names no class of the Shapes
        world. They name no withheld class.
    """
    right = {_name_of(thing) for text in captions for thing in _THING.finditer(text)}
    things = list(_THING.finditer(caption))
    wrong: dict[str, None] = {}
    for _ in range(count if things else 0):
        thing = things[int(rng.integers(len(things)))]
        if thing["ground"]:
            names = list(GROUNDS)
        elif rng.random() < _KIND_SHARE:
            names = [f"{thing['color']} {kind}" for kind in KINDS]
        else:
            names = [f"{color} {thing['kind']}" for color in COLORS]
        names = [name for name in names if name in _CAPTIONED and name not in right]
        if names:
            name = article(names[int(rng.integers(len(names)))])
            wrong[caption[: thing.start()] + name + caption[thing.end() :]] = None
    return tuple(wrong)


def _name_of(thing: re.Match[str]) -> str:
    return thing["ground"] or f"{thing['color']} {thing['kind']}"


def _sentence(rng: np.random.Generator, things: list[str], grounds: list[str]) -> str:
    """A text that names all objects in random order and, in most cases, grounds."""
    order = rng.permutation(len(things))
    listed = _join([things[i] for i in order])
    ground = _join(grounds) if rng.random() < 0.5 else grounds[int(rng.integers(len(grounds)))]
    draw = rng.random()
    if draw < 0.5:
        return f"{listed} on {ground}"
    if draw < 0.7:
        return f"{ground} with {listed}"
    return listed


def _join(parts: list[str]) -> str:
    if len(parts) <= 2:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
