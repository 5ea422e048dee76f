"""Pixels of the Shapes world: ground textures, object patterns and outlines.

Every function is analytic or reads a fixed noise tile, so results do not depend on the machine.
Coordinates are pixels; colours are float RGB of 0 to 255.
"""

from functools import lru_cache

import numpy as np

NOISE_SIDE = 256
Array = np.ndarray


@lru_cache(maxsize=1)
def _noise_tiles() -> Array:
    """(3, 256, 256) float32 noise of about unit range: fine, medium and coarse; tileable."""
    rng = np.random.Generator(np.random.PCG64(20260101))
    white = rng.random((3, NOISE_SIDE, NOISE_SIDE)).astype(np.float32) - 0.5
    freq = np.fft.fftfreq(NOISE_SIDE)
    radius2 = freq[:, None] ** 2 + freq[None, :] ** 2
    tiles = []
    for field, sigma in zip(white, (0.6, 2.0, 7.0), strict=True):
        smooth = np.fft.ifft2(np.fft.fft2(field) * np.exp(-2 * (np.pi * sigma) ** 2 * radius2)).real
        tiles.append(smooth / (2.0 * smooth.std()))
    return np.stack(tiles).astype(np.float32)


def _crop(tile: Array, u: Array, v: Array) -> Array:
    return tile[v.astype(np.int64) % NOISE_SIDE, u.astype(np.int64) % NOISE_SIDE]


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], weight: Array) -> Array:
    """Colour between ``low`` (weight 0) and ``high`` (weight 1): (H, W) -> (H, W, 3) float32."""
    weight = np.clip(weight, 0.0, 1.0)[..., None].astype(np.float32)
    return np.float32(low) * (1 - weight) + np.float32(high) * weight


def _lines(coordinate: Array, period: float, width: float) -> Array:
    """1 on lines of ``width`` pixels every ``period`` pixels, with soft edges."""
    distance = np.abs((coordinate / period + 0.5) % 1.0 - 0.5) * period
    return np.clip(width / 2 + 0.5 - distance, 0.0, 1.0)


def draw_ground(name: str, u: Array, v: Array, scale: float) -> Array:
    """Texture of a ground.

    Args:
        name: one of :data:`~.classes.GROUNDS`.
        u: (H, W) horizontal texture coordinate in pixels, offset and rotation applied.
        v: (H, W) vertical texture coordinate.
        scale: size of the texture's elements relative to the usual size.

    Returns:
        (H, W, 3) float32 RGB of 0 to 255.
    """
    fine, medium, coarse = _noise_tiles()
    if name == "grass":
        blades = _crop(fine, u * 1.3 / scale, v * 0.35 / scale)
        return _blend((46, 84, 28), (128, 158, 72), 0.5 + 0.7 * blades)
    if name == "sand":
        grain = _crop(fine, u * 1.2, v * 1.2) * 0.55 + _crop(coarse, u, v) * 0.3
        return _blend((178, 148, 98), (232, 208, 158), 0.5 + grain)
    if name == "water":
        swell = np.sin(v * (2 * np.pi / (9.0 * scale)) + 2.2 * _crop(coarse, u * 0.8, v * 0.8))
        return _blend((38, 78, 118), (118, 168, 196), 0.45 + 0.45 * swell)
    if name == "brick":
        height, length = 8.0 * scale, 17.0 * scale
        row = np.floor(v / height)
        mortar = np.maximum(
            _lines(v, height, 1.8), _lines(u + (row % 2) * length / 2 + length / 4, length, 1.8)
        )
        face = _blend((122, 52, 42), (168, 88, 68), 0.5 + 0.5 * _crop(medium, u, v))
        return face * (1 - mortar[..., None]) + np.float32((196, 188, 178)) * mortar[..., None]
    if name == "wood":
        warp = _crop(coarse, u * 0.25, v)
        grain = np.sin(v * (2 * np.pi / (6.5 * scale)) + 5.0 * warp)
        streak = _crop(fine, u * 0.2, v * 1.5)
        return _blend((92, 58, 30), (168, 122, 74), 0.5 + 0.32 * grain + 0.2 * streak)
    if name == "gravel":
        stones = np.tanh(2.6 * _crop(medium, u * 0.85 / scale, v * 0.85 / scale))
        return _blend((72, 72, 76), (172, 170, 166), 0.5 + 0.5 * stones)
    if name == "snow":
        drift = _crop(coarse, u, v) * 0.6 + _crop(fine, u, v) * 0.12
        return _blend((206, 216, 234), (250, 251, 254), 0.6 + drift)
    if name == "tiles":
        joint = np.maximum(_lines(u, 15.0 * scale, 2.0), _lines(v, 15.0 * scale, 2.0))
        glaze = _blend((150, 172, 164), (182, 200, 192), 0.5 + 0.4 * _crop(coarse, u, v))
        return glaze * (1 - joint[..., None]) + np.float32((92, 96, 98)) * joint[..., None]
    raise ValueError(f"ground {name!r} is not one of the Shapes world's grounds")


def draw_pattern(name: str, u: Array, v: Array, period: float) -> Array:
    """Share of the object's colour at every pixel; the rest is the second tone.

    Args:
        name: one of :data:`~.classes.PATTERNS`.
        u: (H, W) coordinate across the pattern in pixels.
        v: (H, W) coordinate along the pattern in pixels.
        period: distance of repeats, in pixels.

    Returns:
        (H, W) float in [0, 1]; edges are about a pixel wide.
    """
    turn = 2 * np.pi / period
    if name == "stripes":
        wave = np.sin(u * turn)
    elif name == "waves":
        wave = np.sin((u + 0.36 * period * np.sin(v * turn * 0.62)) * turn)
    elif name == "checks":
        wave = 1.6 * np.sin(u * turn * 0.72) * np.sin(v * turn * 0.72)
    elif name == "dots":
        wave = np.cos(u * turn) + np.cos(v * turn) - 0.35
    else:
        raise ValueError(f"pattern {name!r} is not one of the Shapes world's patterns")
    return np.clip(0.5 + wave * (period / 5.0), 0.0, 1.0)


def outline_margin(name: str, x: Array, y: Array) -> Array:
    """Distance from the border of an outline of radius about 1.

    Args:
        name: one of :data:`~.classes.OUTLINES`, or ``disc``, ``hexagon`` or ``blob``, which only
            patterned objects have.
        x: (H, W) horizontal position in units of the object's radius, rotation undone.
        y: (H, W) vertical position.

    Returns:
        (H, W) float, positive inside, in units of the radius (approximate away from the border).
    """
    if name == "cross":
        arm = np.minimum(0.27 - np.abs(x), 1.0 - np.abs(y))
        return np.maximum(arm, np.minimum(0.27 - np.abs(y), 1.0 - np.abs(x)))
    if name == "square":
        return 0.84 - np.maximum(np.abs(x), np.abs(y))
    radius = np.sqrt(x * x + y * y)
    if name == "disc":
        return 0.95 - radius
    if name == "ring":
        return np.minimum(1.0 - radius, radius - 0.62)
    angle = np.arctan2(x, -y)  # from the upright, so that stars and triangles point up
    if name == "triangle":
        return _polygon(3, 1.12, angle) - radius
    if name == "hexagon":
        return _polygon(6, 1.0, angle) - radius
    if name == "star":
        # Straight edges between five tips at radius 1.16 and five dents at 0.4.
        half = np.pi / 5
        folded = np.abs((angle + half) % (2 * half) - half)
        tip, dent = 1.16, 0.4
        edge = tip * dent * np.sin(half)
        border = edge / (tip * np.sin(folded) + dent * np.sin(half - folded))
        return (border - radius) * 0.6
    if name == "blob":
        return 0.86 + 0.14 * np.sin(3 * angle + 0.7) + 0.06 * np.sin(5 * angle) - radius
    raise ValueError(f"outline {name!r} is not one of the Shapes world's outlines")


def _polygon(sides: int, circumradius: float, angle: Array) -> Array:
    """Distance of a regular polygon's border from its centre in each direction."""
    half = np.pi / sides
    return circumradius * np.cos(half) / np.cos((angle % (2 * half)) - half)
