"""Sliding windows: the boxes that cover an image, and the mean of the windows' scores.

A whole image is one window. Passes over an image that is moved by less than a patch are windows
that reach beyond its borders.

The mean is taken at pixels, as in the releases, not on a common patch grid: the last windows are
shifted inside the image by any number of pixels, so that the cells of two grids seldom coincide,
and interpolation must not mix windows at their edges. Scores of all classes at all pixels are large
(171 classes at 448 x 600 are 184 MB), so rows can be computed separately, as by `score_bands`; only
the grids of all windows, about a hundred times smaller, stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ovseg_d2.ops.dense import MAX_ELEMENTS, Size, linear_taps, resize_last
from ovseg_d2.ops.precision import at_least_float32

__all__ = [
    "average_windows",
    "reflected_crop",
    "score_bands",
    "shifted_boxes",
    "shifted_size",
    "window_and_stride",
    "window_boxes",
]

Box = tuple[int, int, int, int]


def window_boxes(size: Size, window: Size, stride: Size) -> list[Box]:
    """Cover an image with windows of one size.

    Windows start every ``stride`` pixels; the last one of a row or column is shifted inside the
    image. In an image smaller than ``window``, windows have the size of the image.

    Args:
        size: (H, W) of the image in pixels.
        window: (h, w) of a window in pixels.
        stride: (h, w) in pixels from one window to the next, at most ``window``.

    Returns:
        Boxes (x0, y0, x1, y1) in pixels, x1 and y1 excluded, row by row; all of one size.

    Raises:
        ValueError: a size below 1, or a stride that leaves gaps.
    """
    if min(*size, *window, *stride) < 1:
        raise ValueError(
            f"sizes must be at least 1 pixel, got an image of {tuple(size)}, a window of "
            f"{tuple(window)} and a stride of {tuple(stride)}"
        )
    if stride[0] > window[0] or stride[1] > window[1]:
        raise ValueError(
            f"the stride {tuple(stride)} exceeds the window {tuple(window)}, which leaves pixels "
            "that no window sees; make it at most as large"
        )
    tops = _starts(size[0], window[0], stride[0])
    lefts = _starts(size[1], window[1], stride[1])
    height, width = min(window[0], size[0]), min(window[1], size[1])
    return [(left, top, left + width, top + height) for top in tops for left in lefts]


def shifted_size(size: Size, patch: Size, shifts: int) -> Size:
    """Return the size of one of n x n passes that are shifted against each other.

    Args:
        size: (H, W) of the image in pixels.
        patch: (h, w) of a patch in pixels.
        shifts: n, at most the sides of a patch.

    Returns:
        (h, w) in pixels, whole patches with room for every shift; ``size`` for n = 1.

    Raises:
        ValueError: shifts below 1, or more than a patch has pixels.
    """
    if not 1 <= shifts <= min(patch):
        raise ValueError(
            f"shifts is {shifts}, and a patch has {patch[0]} x {patch[1]} pixels; give a number "
            f"from 1 to {min(patch)}"
        )
    if shifts == 1:
        return size
    rooms = [s + _offsets(p, shifts)[-1] for s, p in zip(size, patch, strict=True)]
    height, width = (-(-room // p) * p for room, p in zip(rooms, patch, strict=True))
    return height, width


def shifted_boxes(size: Size, window: Size, stride: Size, patch: Size, shifts: int) -> list[Box]:
    """Cover an image with windows in n x n passes, each shifted by a part of a patch.

    Pass (i, j) moves the image down by i h / n and to the right by j w / n pixels, rounded down, of
    a patch of h x w, and covers `shifted_size`: patches of different passes interleave.

    Args:
        size: (H, W) of the image in pixels.
        window: (h, w) of a window in pixels.
        stride: (h, w) in pixels from one window of a pass to its next.
        patch: (h, w) of a patch in pixels.
        shifts: n; 1 gives the `window_boxes`.

    Returns:
        Boxes as those of `window_boxes`, pass by pass. They may reach beyond the image, and each
        overlaps it.

    Raises:
        ValueError: those of `window_boxes` and `shifted_size`.
    """
    boxes = window_boxes(shifted_size(size, patch, shifts), window, stride)
    moved = [
        (left - x, top - y, right - x, bottom - y)
        for y in _offsets(patch[0], shifts)
        for x in _offsets(patch[1], shifts)
        for left, top, right, bottom in boxes
    ]
    return [box for box in moved if box[0] < size[1] and box[1] < size[0]]


def reflected_crop(image: Tensor, box: Box) -> Tensor:
    """Cut a box out of an image that is continued by its reflections at the borders.

    Args:
        image: (C, H, W).
        box: (x0, y0, x1, y1) in pixels, which may reach beyond the image by any distance.

    Returns:
        (C, y1 - y0, x1 - x0); a border pixel is not repeated.
    """
    left, top, right, bottom = box
    height, width = image.shape[1:]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return image[:, top:bottom, left:right]
    rows = _reflected(top, bottom, height).to(image.device)
    columns = _reflected(left, right, width).to(image.device)
    return image[:, rows[:, None], columns]


def window_and_stride(
    window: int | Size | None, stride: int | Size | None
) -> tuple[Size | None, Size | None]:
    """Complete the two sides of a window and its stride.

    Args:
        window: (h, w) in pixels, or one number for both; None for whole images.
        stride: (h, w) in pixels, or one number; None is half the window.

    Returns:
        Both as (h, w), or None and None.

    Raises:
        ValueError: a size below 1, a stride that leaves gaps, or a stride without a window.
    """
    if window is None:
        if stride is not None:
            raise ValueError(f"stride={stride} without a window; give window in pixels too")
        return None, None
    window = (window, window) if isinstance(window, int) else (window[0], window[1])
    if stride is None:
        stride = (max(window[0] // 2, 1), max(window[1] // 2, 1))
    stride = (stride, stride) if isinstance(stride, int) else (stride[0], stride[1])
    window_boxes(window, window, stride)  # checks both
    return window, stride


def average_windows(
    scores: Tensor,
    boxes: Sequence[Box],
    size: Size,
    *,
    padded_size: Size | None = None,
    rows: tuple[int, int] | None = None,
    beyond: bool = False,
) -> Tensor:
    """Return the mean score at every pixel over the windows that cover it.

    Grids are resized as by `upsample_scores`: bilinear, ``align_corners=False``, without padding.

    Args:
        scores: (n, K, h, w) floating, one grid per window.
        boxes: n boxes (x0, y0, x1, y1) of one size, from `window_boxes`.
        size: (H, W) of the image in pixels.
        padded_size: (h, w) in pixels of a window with its padding, which the grid covers; None if
            windows are whole patches.
        rows: first and last + 1 of the rows to compute; None computes all.
        beyond: whether boxes may reach beyond the image, as those of `shifted_boxes`; what lies
            outside is left out.

    Returns:
        (K, H, W) or (K, rows, W), float32 (float64 for float64 scores).

    Raises:
        ValueError: scores, boxes and sizes that do not fit each other, or a pixel of the rows
            outside all boxes.
    """
    start, stop = (0, size[0]) if rows is None else rows
    box_size = _check(scores, boxes, size, padded_size, (start, stop), beyond)
    padded_size = box_size if padded_size is None else padded_size
    scores = at_least_float32(scores)
    total = scores.new_zeros(scores.shape[1], stop - start, size[1])
    count = scores.new_zeros(stop - start, size[1])
    for grid, (left, top, right, bottom) in zip(scores, boxes, strict=True):
        first, last = max(top, start), min(bottom, stop)
        if first < last:
            # Resizing is separable, so any rows of a window can be computed alone.
            part = _resize_rows(grid, padded_size[0], (first - top, last - top))
            part = resize_last(part, padded_size[1])[..., : box_size[1]]
            columns = slice(max(left, 0), min(right, size[1]))
            part = part[..., columns.start - left : columns.stop - left]
            total[:, first - start : last - start, columns] += part
            count[first - start : last - start, columns] += 1
    if not bool((count > 0).all()):
        raise ValueError(
            f"the {len(boxes)} boxes leave pixels of an image of {tuple(size)} uncovered; take "
            "them from window_boxes"
        )
    return total / count


def score_bands(
    scores: Tensor,
    boxes: Sequence[Box],
    size: Size,
    *,
    padded_size: Size | None = None,
    out_size: Size | None = None,
    max_elements: int = MAX_ELEMENTS,
    beyond: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """Run `average_windows` in bands of rows, with the result at any size.

    Other arguments and errors are those of `average_windows`.

    Args:
        scores: (n, K, h, w).
        boxes: n boxes.
        size: (H, W) of the image in pixels.
        padded_size: (h, w) of a padded window in pixels.
        out_size: (H, W) to which the mean is resized (bilinear, ``align_corners=False``); None
            means ``size``.
        max_elements: most scores of a band; a band has at least one row.
        beyond: as for `average_windows`.

    Yields:
        The band's first row, and its scores (K, rows, W), float32 (float64 for float64 scores).

    Raises:
        ValueError: an ``out_size`` below 1.
    """
    out_height, out_width = size if out_size is None else out_size
    if min(out_height, out_width) < 1:
        raise ValueError(f"out_size is {out_size}; it must be at least 1 pixel each way")
    # A row of a smaller result needs several rows of the image.
    row = max(size[1] * -(-size[0] // out_height), out_width)
    band = max(1, max_elements // (scores.shape[1] * row))
    taps, _ = linear_taps(size[0], out_height)
    for start in range(0, out_height, band):
        stop = min(start + band, out_height)
        rows = (start, stop)
        if out_height != size[0]:
            rows = (int(taps[0, start]), int(taps[1, stop - 1]) + 1)
        part = average_windows(
            scores, boxes, size, padded_size=padded_size, rows=rows, beyond=beyond
        )
        if out_height != size[0]:
            part = _resize_rows(part, out_height, (start, stop), first=rows[0], total=size[0])
        yield start, resize_last(part, out_width)


def _offsets(patch: int, shifts: int) -> list[int]:
    """Pixels that the passes move an image along one side."""
    return [step * patch // shifts for step in range(shifts)]


def _reflected(start: int, stop: int, size: int) -> Tensor:
    """Indices (stop - start,) into ``size`` pixels that are reflected at both ends."""
    period = max(2 * (size - 1), 1)
    places = torch.arange(start, stop) % period
    return torch.minimum(places, period - places) if size > 1 else places


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Return the first pixels of the windows along one side."""
    steps = -(-max(size - window, 0) // stride)
    return [max(min(step * stride, size - window), 0) for step in range(steps + 1)]


def _resize_rows(
    values: Tensor, out_size: int, rows: tuple[int, int], first: int = 0, total: int | None = None
) -> Tensor:
    """Resize (K, h, w) along h to ``rows``; ``values`` start at row ``first`` of ``total``."""
    total = values.shape[1] if total is None else total
    if total == out_size:
        return values[:, rows[0] - first : rows[1] - first]
    low_high, weights = linear_taps(total, out_size)
    low, high = (low_high[:, rows[0] : rows[1]] - first).to(values.device)
    low_weights, high_weights = weights[:, rows[0] : rows[1], None].to(values)
    return values[:, low] * low_weights + values[:, high] * high_weights


def _check(
    scores: Tensor,
    boxes: Sequence[Box],
    size: Size,
    padded_size: Size | None,
    rows: tuple[int, int],
    beyond: bool,
) -> Size:
    """Check that all arguments fit each other and return (h, w) of the boxes."""
    if scores.dim() != 4 or 0 in scores.shape or not scores.is_floating_point():
        raise ValueError(
            f"scores have shape {tuple(scores.shape)} and dtype {scores.dtype}; give "
            "(n, K, h, w) of a floating type, one grid per window"
        )
    if len(boxes) != len(scores):
        raise ValueError(
            f"{len(boxes)} boxes for the grids of {len(scores)} windows; give one box per grid"
        )
    sizes = {(bottom - top, right - left) for left, top, right, bottom in boxes}
    inside = all(
        0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
        for left, top, right, bottom in boxes
    )
    overlap = all(
        max(left, 0) < min(right, size[1]) and max(top, 0) < min(bottom, size[0])
        for left, top, right, bottom in boxes
    )
    if len(sizes) > 1 or not (overlap if beyond else inside):
        raise ValueError(
            f"boxes of the sizes {sorted(sizes)} on an image of {tuple(size)}; they must be of one "
            "size and inside it, as window_boxes gives them"
        )
    box_size = sizes.pop()
    if padded_size is not None and (padded_size[0] < box_size[0] or padded_size[1] < box_size[1]):
        raise ValueError(
            f"padded_size is {tuple(padded_size)}, less than the windows' {box_size}; give the "
            "pixels that the grid covers"
        )
    if not 0 <= rows[0] < rows[1] <= size[0]:
        raise ValueError(f"rows are {tuple(rows)}; give two of 0..{size[0]}, ascending")
    return box_size
