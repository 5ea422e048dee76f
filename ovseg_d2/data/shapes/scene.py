"""Scenes of the Shapes world: objects and grounds, and their image, labels and regions."""

from dataclasses import dataclass

import numpy as np

from .classes import (
    CLASS_SETS,
    COLORS,
    GROUNDS,
    KINDS,
    NUM_OBJECT_CLASSES,
    OUTLINES,
    PATTERNS,
    split_object_class,
)
from .textures import draw_ground, draw_pattern, outline_margin

VERSION = 1
IMAGE_SIZE = 96
SPLITS: tuple[str, ...] = ("train", "dev", "val")

_EXTRA_OUTLINES = ("disc", "hexagon", "blob")
_NUM_OBJECTS_CDF = np.cumsum((0.08, 0.34, 0.34, 0.24))
_MIN_VISIBLE = 0.7  # share of an object that later objects leave visible
_PLACING_TRIES = 12
_MAX_TILT = 0.3  # largest tilt of objects and patterns to either side, in radians


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        class_id: index into :data:`~.classes.CLASSES`.
        center: (y, x) of its centre in pixels.
        box: visible part, xyxy in pixels, right and bottom exclusive.
        region_id: its value in :attr:`Scene.regions`.
    """

    class_id: int
    center: tuple[float, float]
    box: tuple[int, int, int, int]
    region_id: int


@dataclass(frozen=True, eq=False)
class Scene:
    """One rendered image and its ground truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids; every pixel has one.
        regions: (H, W) uint8, one number for each ground and each object, from 0, not ordered by
            class: the output of an ideal class-agnostic segmenter.
        ground_ids: class ids of the one or two grounds.
        objects: in drawing order; later ones cover earlier ones.
    """

    image: np.ndarray
    labels: np.ndarray
    regions: np.ndarray
    ground_ids: tuple[int, ...]
    objects: tuple[SceneObject, ...]


def _allowed_objects(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Patterned and plain object classes that a split may show, two arrays of class ids."""
    ids = np.arange(NUM_OBJECT_CLASSES)
    if split == "train":
        ids = np.setdiff1d(ids, CLASS_SETS["withheld"])
    patterned = np.array([split_object_class(i)[1] < len(PATTERNS) for i in ids])
    return ids[patterned], ids[~patterned]


_ALLOWED = {split: _allowed_objects(split) for split in SPLITS}


def _rotated(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def render_scene(split: str, seed: int, index: int) -> Scene:
    """Render an image of the Shapes world.

    Args:
        split: ``train`` (never shows a withheld class), ``dev`` or ``val``.
        seed: seed of the world; results use 0.
        index: number of the image, from 0.

    Returns:
        A scene that depends on the arguments alone, not on the machine.

    Raises:
        ValueError: the split is unknown, or seed or index is negative.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed} and index {index} must not be negative")
    rng = np.random.Generator(np.random.PCG64([VERSION, SPLITS.index(split), seed, index]))
    side = IMAGE_SIZE
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) + np.float32(0.5)

    canvas, labels, regions, ground_ids = _draw_grounds(rng, yy, xx)
    num_objects = int(np.searchsorted(_NUM_OBJECTS_CDF, rng.random(), side="right"))
    drawn: list[tuple[int, tuple[float, float], int]] = []
    areas: dict[int, int] = {}
    for _ in range(min(num_objects, 3)):
        region_id = len(ground_ids) + len(drawn)
        placed = _place_object(rng, split, yy, xx, regions, areas)
        if placed is None:
            continue
        class_id, center, alpha, inside, colors = placed
        canvas = canvas * (1 - alpha[..., None]) + colors * alpha[..., None]
        labels[inside] = class_id
        regions[inside] = region_id
        areas[region_id] = int(inside.sum())
        drawn.append((class_id, center, region_id))

    image = _expose(rng, canvas, yy, xx)
    objects = tuple(
        SceneObject(class_id, center, _box_of(regions == region_id), region_id)
        for class_id, center, region_id in drawn
    )
    return Scene(image, labels, regions, ground_ids, objects)


def _draw_grounds(
    rng: np.random.Generator, yy: np.ndarray, xx: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
    """Draw one ground, or two that meet along a wavy border.

    Returns:
        (H, W, 3) colours, (H, W) labels, (H, W) regions, class ids of the grounds.
    """
    first = int(rng.integers(len(GROUNDS)))
    two = rng.random() < 0.35
    second = int((first + 1 + rng.integers(len(GROUNDS) - 1)) % len(GROUNDS))
    canvas = _draw_one_ground(rng, GROUNDS[first], yy, xx)
    regions = np.zeros(yy.shape, dtype=np.uint8)
    labels = np.full(yy.shape, NUM_OBJECT_CLASSES + first, dtype=np.uint8)
    if not two:
        return canvas, labels, regions, (NUM_OBJECT_CLASSES + first,)
    other = _draw_one_ground(rng, GROUNDS[second], yy, xx)
    angle, shift, phase = rng.random() * 2 * np.pi, (rng.random() - 0.5) * 36, rng.random() * 6.3
    along, across = _rotated(xx - yy.shape[1] / 2, yy - yy.shape[0] / 2, angle)
    margin = across - shift + 3.0 * np.sin(along * 0.13 + phase)
    alpha = np.clip(margin + 0.5, 0, 1)[..., None]
    beyond = margin > 0
    labels[beyond] = NUM_OBJECT_CLASSES + second
    regions[beyond] = 1
    ids = (NUM_OBJECT_CLASSES + first, NUM_OBJECT_CLASSES + second)
    return canvas * (1 - alpha) + other * alpha, labels, regions, ids


def _draw_one_ground(
    rng: np.random.Generator, name: str, yy: np.ndarray, xx: np.ndarray
) -> np.ndarray:
    tilt = (rng.random() - 0.5) * 0.7
    scale = 0.85 + 0.4 * rng.random()
    u, v = _rotated(xx, yy, tilt)
    offset_u, offset_v = rng.random(2) * 4096
    return draw_ground(name, u + offset_u, v + offset_v, scale) * (0.88 + 0.24 * rng.random())


def _place_object(
    rng: np.random.Generator,
    split: str,
    yy: np.ndarray,
    xx: np.ndarray,
    regions: np.ndarray,
    areas: dict[int, int],
) -> tuple[int, tuple[float, float], np.ndarray, np.ndarray, np.ndarray] | None:
    """Draw an object that covers little of the earlier ones; None where no place is found.

    Returns:
        Class id, centre, (H, W) opacity, (H, W) bool inside, (H, W, 3) colours.
    """
    patterned, plain = _ALLOWED[split]
    pool = patterned if rng.random() < 0.5 else plain
    class_id = int(pool[rng.integers(len(pool))])
    color, kind = split_object_class(class_id)
    if kind < len(PATTERNS):
        outlines = OUTLINES + _EXTRA_OUTLINES
        outline = outlines[int(rng.integers(len(outlines)))]
    else:
        outline = KINDS[kind]
    radius = 16.0 * 3.0 ** rng.random()  # from small things to close-ups, in pixels
    stretch = 0.85 + 0.3 * rng.random()
    angle = (2 * rng.random() - 1) * _MAX_TILT
    colors = _object_colors(rng, color, kind, yy, xx)
    side = yy.shape[0]
    for _ in range(_PLACING_TRIES):
        # Most of an object lies inside the image: half an outline cannot be recognised.
        reach = min(0.8 * radius, 0.46 * side)
        cy, cx = reach + (side - 2 * reach) * rng.random(2)
        x, y = _rotated(xx - np.float32(cx), yy - np.float32(cy), angle)
        margin = outline_margin(outline, x / (radius * stretch), y * stretch / radius) * radius
        inside = margin > 0
        kept = all(
            np.count_nonzero((regions == i) & ~inside) >= _MIN_VISIBLE * area
            for i, area in areas.items()
        )
        if kept and inside.sum() >= 120:
            return class_id, (float(cy), float(cx)), np.clip(margin + 0.5, 0, 1), inside, colors
    return None


def _object_colors(
    rng: np.random.Generator, color: int, kind: int, yy: np.ndarray, xx: np.ndarray
) -> np.ndarray:
    """(H, W, 3) colours of an object: plain, or its colour and a second tone in a pattern."""
    jitter = (rng.random(3) - 0.5) * 30
    base = np.float32(np.clip(np.array(list(COLORS.values())[color]) + jitter, 0, 255))
    if kind >= len(PATTERNS):
        shade = 1.0 - 0.16 * rng.random() * (yy - yy.mean()) / yy.shape[0]
        return base * shade[..., None].astype(np.float32)
    light = rng.random() < 0.75
    tone = np.float32(232 + 20 * rng.random() if light else 14 + 24 * rng.random())
    u, v = _rotated(xx, yy, (2 * rng.random() - 1) * _MAX_TILT)
    period = 5.5 + 2.5 * rng.random()
    phase = rng.random(2) * 64
    share = draw_pattern(KINDS[kind], u + phase[0], v + phase[1], period)[..., None]
    return (base * share + tone * (1 - share)).astype(np.float32)


def _expose(
    rng: np.random.Generator, canvas: np.ndarray, yy: np.ndarray, xx: np.ndarray
) -> np.ndarray:
    """Apply light from one side, exposure and sensor noise: float RGB -> uint8."""
    angle = rng.random() * 2 * np.pi
    ramp = ((xx - 48) * np.cos(angle) + (yy - 48) * np.sin(angle)) / 96
    light = (0.85 + 0.3 * rng.random()) * (1 + 0.25 * rng.random() * ramp)
    level = 3 + 10 * rng.random()
    grain = rng.integers(-64, 65, size=(2, *canvas.shape), dtype=np.int8).astype(np.float32)
    noise = (grain[0] + grain[1]) * np.float32(level / 74.0)
    return np.clip(canvas * light[..., None] + noise, 0, 255).astype(np.uint8)


def _box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
