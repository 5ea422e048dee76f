"""Passes over an image and their windows: the boxes that a tower encodes, and how many at once."""

from __future__ import annotations

import logging
from functools import lru_cache

from ovseg_d2.clip import CLIPTower
from ovseg_d2.ops import shifted_boxes, shifted_size

__all__ = ["check_passes", "plan_passes"]

_logger = logging.getLogger(__name__)
Size = tuple[int, int]

# Windows encoded together.
_CROPS_AT_ONCE = 8
# A pass that needs more, by `CLIPTower.dense_bytes`, is split into windows: 4 GiB are 1552 x 1552
# pixels for a ViT-B/16.
_MOST_BYTES = 2**32
# Sides of these windows, as a multiple of the size that the tower was trained at.
_WINDOW_SIDES = 3


def check_passes(tower: CLIPTower, window: Size | None, stride: Size | None, shifts: int) -> None:
    """Refuse windows so fine that even a small image has thousands of them, and wrong shifts.

    Args:
        tower: encodes the windows.
        window: (h, w) in pixels of a window; None for whole images.
        stride: (h, w) in pixels from one window to the next; None for whole images.
        shifts: n of n x n passes, see `shifted_boxes`.

    Raises:
        ValueError: a window smaller than a patch, a stride below half of one, or shifts that are
            no part of a patch.
    """
    patch = tower.patch_size
    shifted_size(tower.image_size, patch, shifts)
    if window is None or stride is None:
        return
    if any(w < p or 2 * s < p for w, s, p in zip(window, stride, patch, strict=True)):
        raise ValueError(
            f"window={window} with stride={stride} is finer than this tower's patches of {patch} "
            "pixels; make MODEL.MASKCLIP.WINDOW at least a patch, and STRIDE at least half of one"
        )


def plan_passes(
    tower: CLIPTower, size: Size, window: Size | None, stride: Size | None, shifts: int
) -> tuple[list[tuple[int, int, int, int]], int]:
    """Return the windows of all passes over an image, and the number encoded together.

    Without ``window`` a pass is one window; where it would need more than 4 GiB, it is split, with
    a warning.

    Args:
        tower: encodes the windows.
        size: (H, W) of the image in pixels.
        window: see `check_passes`.
        stride: see `check_passes`.
        shifts: see `check_passes`.

    Returns:
        Boxes xyxy of one size, see `shifted_boxes`; and a number of at least 1.
    """
    patch = tower.patch_size
    if window is not None:
        return shifted_boxes(size, window, stride or window, patch, shifts), _CROPS_AT_ONCE
    window = stride = shifted_size(size, patch, shifts)
    needed = tower.dense_bytes(window)
    if needed > _MOST_BYTES:
        height, width = (_WINDOW_SIDES * side for side in tower.image_size)
        _warn_of_windows(size, (height, width), needed)
        window, stride = (height, width), (height // 2, width // 2)
        needed = tower.dense_bytes(window)
    boxes = shifted_boxes(size, window, stride, patch, shifts)
    return boxes, min(max(_MOST_BYTES // max(needed, 1), 1), _CROPS_AT_ONCE)


@lru_cache(maxsize=1024)
def _warn_of_windows(size: Size, window: Size, needed: int) -> None:
    """Warn once for each image size that images are split into windows."""
    _logger.warning(
        "images of %d x %d pixels are split into windows of %d x %d: whole they would need %.1f "
        "GB each; set INPUT.MIN_SIZE_TEST to shrink them, or MODEL.MASKCLIP.WINDOW",
        *(size[1], size[0], window[1], window[0], needed / 1e9),
    )
