"""Common corruptions at five levels, to measure how robust a model is.

Source: [corruptions] Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261: names, order and
strengths are those of its release except where a module states another. Its lengths are pixels of
224 x 224 images; here blurs, streaks of snow and elastic shifts are in proportion to the shorter
side, so that a level has the same effect on a 96-pixel image as on a large one. Corruptions of
single pixels or blocks of eight (noise, pixelate, JPEG) do not scale: they would vanish at 96
pixels. ``fixed_lengths`` has the release's lengths.
Departs: frost and fog are generated at any size instead of photographed, elastic shifts have no
affine part (see there), values are rounded and not cut off. Glass blur is left out: it shuffles
pixels one after the other. Numbers compare models here, but not with published tables; with
``fixed_lengths`` noise, Gaussian and defocus blur, spatter and JPEG do, up to rounding.

Labels stay valid: no pixel moves by more than a few pixels at 224.
"""

# In the order of the paper: importing registers.
from . import noise, blur, weather, digital, spatter  # noqa: F401, I001
from .registry import CORRUPTIONS, LEVELS, corrupt, corruption_rng

__all__ = ["CORRUPTIONS", "LEVELS", "corrupt", "corruption_rng"]
