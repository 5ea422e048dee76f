"""Check of the range of an input's pixels."""

from torch import Tensor

__all__ = ["check_pixel_range"]

# Resizing may overshoot a little.
_TOLERANCE = 1.0


def check_pixel_range(image: Tensor) -> None:
    """Refuse pixels that are not in 0..255, such as those of an image in 0..1.

    Args:
        image: of any shape; uint8 always passes. Floats of 0 and 1 alone are an almost black
            image, and pass too.

    Raises:
        ValueError: values below 0 or above 255, NaN, or fractions none of which is above 1.
    """
    if image.numel() == 0 or image.element_size() == 1:
        return
    low, high = float(image.min()), float(image.max())
    if not (low >= -_TOLERANCE and high <= 255 + _TOLERANCE):  # true for NaN
        raise ValueError(
            f"the input's pixels are from {low:.4g} to {high:.4g}; give RGB or BGR in 0..255, as "
            "INPUT.FORMAT says, not normalised"
        )
    if image.is_floating_point() and high <= 1 and bool((image.frac() != 0).any()):
        raise ValueError(
            f"the input's pixels are from {low:.4g} to {high:.4g}, which is an image in 0..1; "
            "multiply it by 255"
        )
