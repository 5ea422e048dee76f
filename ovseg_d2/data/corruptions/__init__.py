"""Common corruptions at five levels, to ask how a model stands what spoils pictures.

Source: [corruptions] Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261: names, order and
strengths are those of its release but where a module says so. Its lengths are pixels of 224 x 224
pictures; here blurs, streaks of snow and elastic shifts are in proportion to the shorter side, so
that a level takes as much of a 96-pixel picture as of a large one. What works on single pixels or
on blocks of eight (noise, pixelate, JPEG) is not: it would be nothing at 96 pixels.
Departs: frost and fog are grown instead of photographed and of any size, elastic shifts have no
affine part (see there), values are rounded and not cut off. Glass blur is left out: it shuffles
pixels one after the other. Numbers are comparable between models here, not with published tables.

Labels stay valid: nothing moves by more than a few pixels at 224.
"""

# In the order of the paper: importing registers.
from . import noise, blur, weather, digital  # noqa: F401, I001
from .registry import CORRUPTIONS, LEVELS, corrupt, corruption_rng

__all__ = ["CORRUPTIONS", "LEVELS", "corrupt", "corruption_rng"]
