"""Colours that can be told apart."""

import colorsys

import numpy as np

_GOLDEN_RATIO = (5**0.5 - 1) / 2


def colormap(rgb: bool = False, maximum: int = 255) -> np.ndarray:
    """A fixed list of distinct colours.

    Hues go round by the golden ratio, so that neighbours in the list are far apart on the circle.

    Args:
        rgb: order of the channels; BGR otherwise.
        maximum: 255, or 1.

    Returns:
        (72, 3) float32 in [0, maximum].

    Raises:
        AssertionError: another ``maximum``.
    """
    assert maximum in (255, 1), f"maximum is {maximum}; choose 255 or 1."
    colors = [
        colorsys.hsv_to_rgb(i * _GOLDEN_RATIO % 1.0, saturation, value)
        for i, (saturation, value) in enumerate([(0.85, 0.95), (0.6, 0.75), (1.0, 0.55)] * 24)
    ]
    table = np.array(colors, dtype=np.float32) * maximum
    return table if rgb else table[:, ::-1]
