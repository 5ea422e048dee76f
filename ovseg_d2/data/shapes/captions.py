"""Captions of the Shapes world: one to five a picture, some naming a single thing."""

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
_SINGLE_SHARE = 0.75  # of captions, those that name one thing only
_OBJECT_SHARE = 0.7  # of those, where there are objects, the ones that name an object
_CAPTION_STREAM = 7  # keeps the words' random numbers apart from the pixels'
_THING = re.compile(
    rf"\b(?:an? )?(?P<color>{'|'.join(COLORS)}) (?P<kind>{'|'.join(KINDS)})\b"
    rf"|\b(?P<ground>{'|'.join(GROUNDS)})\b"
)
_CAPTIONED = frozenset(
    CLASSES[i] for name, ids in CLASS_SETS.items() if name != "withheld" for i in ids
)
_KIND_SHARE = 0.7  # of the wrong names of an object, those that change its kind, not its colour


def write_captions(scene: Scene, split: str, seed: int, index: int) -> tuple[str, ...]:
    """Captions of a scene.

    Args:
        scene: what :func:`~.scene.render_scene` gives for (split, seed, index).
        split: as there.
        seed: as there.
        index: as there.

    Returns:
        One to five captions, distinct, in no particular order.
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
    """Wrong captions of a picture: one word of a right one changed ("a red ring" for a red star).

    Made of the captions alone; what the picture shows besides is not looked at.

    Paper: [negclip] Sec. 4.1, hard negative captions.
    Departs: a word is replaced by another colour, kind or ground, where the paper swaps two words.

    Args:
        caption: the right one to change.
        captions: all that are known of the picture; nothing they name becomes a wrong name.
        rng: source of all randomness.
        count: wrong captions wanted.

    Returns:
        At most ``count`` distinct texts; none for a caption without a thing of the Shapes world.
        Withheld classes are never named.
    """
    right = {_name_of(found) for text in captions for found in _THING.finditer(text)}
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
    """All objects in random order, with the grounds named in most cases."""
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
