"""Sliding windows: boxes, means and bands against worked values and loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.ops import (
    average_windows,
    reflected_crop,
    score_bands,
    shifted_boxes,
    shifted_size,
    upsample_scores,
    window_boxes,
)


def test_window_boxes_worked_by_hand() -> None:
    # Width 10: 0..4, 3..7, 6..10; height 5: 0..4, and 3..7 shifted to 1..5.
    assert window_boxes((5, 10), (4, 4), (3, 3)) == [
        (0, 0, 4, 4),
        (3, 0, 7, 4),
        (6, 0, 10, 4),
        (0, 1, 4, 5),
        (3, 1, 7, 5),
        (6, 1, 10, 5),
    ]


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        ((4, 4), (4, 4), (1, 1), [(0, 0, 4, 4)]),
        ((3, 2), (4, 4), (2, 2), [(0, 0, 2, 3)]),
        ((3, 6), (4, 4), (4, 4), [(0, 0, 4, 3), (2, 0, 6, 3)]),
        ((1, 1), (224, 224), (112, 112), [(0, 0, 1, 1)]),
        ((8, 4), (4, 4), (4, 4), [(0, 0, 4, 4), (0, 4, 4, 8)]),
    ],
)
def test_window_boxes_of_small_images(size, window, stride, expected) -> None:
    assert window_boxes(size, window, stride) == expected


@pytest.mark.parametrize("size", [(7, 30), (31, 9), (64, 65)])
@pytest.mark.parametrize("stride", [(3, 5), (8, 9), (1, 4)])
def test_window_boxes_cover_the_image_in_one_size(size, stride) -> None:
    boxes = window_boxes(size, (8, 9), stride)
    seen = torch.zeros(size)
    for left, top, right, bottom in boxes:
        assert (bottom - top, right - left) == (min(8, size[0]), min(9, size[1]))
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    assert len(set(boxes)) == len(boxes)


@pytest.mark.parametrize("args", [((0, 4), (2, 2), (1, 1)), ((4, 4), (2, 2), (0, 1))])
def test_window_boxes_refuse_empty_sizes(args) -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        window_boxes(*args)


def test_window_boxes_refuse_gaps() -> None:
    with pytest.raises(ValueError, match="leaves pixels that no window sees"):
        window_boxes((9, 9), (4, 4), (4, 5))


def test_average_windows_worked_by_hand() -> None:
    # Two windows of one cell each, two pixels wide, on three pixels: both cover the middle pixel.
    scores = torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1)
    mean = average_windows(scores, [(0, 0, 2, 1), (1, 0, 3, 1)], (1, 3))
    assert torch.equal(mean, torch.tensor([[[1.0, 3.0, 5.0]]]))


@pytest.mark.parametrize(
    ("size", "window", "padded"), [((19, 26), (8, 12), None), ((19, 26), (7, 10), (8, 12))]
)
@pytest.mark.parametrize("rows", [None, (0, 5), (6, 7), (17, 19)])
def test_average_windows_equals_a_loop(size, window, padded, rows) -> None:
    boxes = window_boxes(size, window, (5, 6))
    scores = torch.randn(len(boxes), 3, 2, 3, dtype=torch.float64)
    expected = torch.zeros(3, *size, dtype=torch.float64)
    pixels = F.interpolate(scores, size=padded or window, mode="bilinear", align_corners=False)
    for y in range(size[0]):
        for x in range(size[1]):
            seeing = [
                pixels[i, :, y - top, x - left]
                for i, (left, top, right, bottom) in enumerate(boxes)
                if left <= x < right and top <= y < bottom
            ]
            expected[:, y, x] = torch.stack(seeing).mean(dim=0)
    mean = average_windows(scores, boxes, size, padded_size=padded, rows=rows)
    first, last = rows or (0, size[0])
    torch.testing.assert_close(mean, expected[:, first:last])


def test_average_windows_of_one_window() -> None:
    scores = torch.randn(1, 4, 3, 5)
    mean = average_windows(scores, [(0, 0, 37, 20)], (20, 37), padded_size=(24, 40))
    torch.testing.assert_close(mean, upsample_scores(scores[0], (24, 40), (20, 37)))


@pytest.mark.parametrize("out_size", [None, (19, 31), (40, 26), (7, 9), (50, 60)])
@pytest.mark.parametrize("max_elements", [1, 400, 2**24])
def test_score_bands_resize_the_mean(out_size, max_elements) -> None:
    size, window = (19, 26), (7, 10)
    boxes = window_boxes(size, window, (5, 6))
    scores = torch.randn(len(boxes), 3, 2, 3, dtype=torch.float64)
    mean = average_windows(scores, boxes, size, padded_size=(8, 12))
    expected = F.interpolate(
        mean[None], size=out_size or size, mode="bilinear", align_corners=False
    )[0]
    row, parts = 0, []
    for start, part in score_bands(
        scores, boxes, size, padded_size=(8, 12), out_size=out_size, max_elements=max_elements
    ):
        assert start == row
        assert part.shape[1] == 1 or part.numel() <= max_elements
        row += part.shape[1]
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)
    assert len(parts) == {1: row, 2**24: 1}.get(max_elements, len(parts))


def test_score_bands_keep_equal_classes_equal() -> None:
    boxes = window_boxes((20, 30), (16, 16), (8, 8))
    scores = torch.randn(len(boxes), 3, 2, 2)
    for _, part in score_bands(scores.repeat(1, 3, 1, 1), boxes, (20, 30), out_size=(33, 47)):
        assert torch.equal(part[:3], part[3:6])
        assert torch.equal(part[:3], part[6:])


def test_score_bands_refuse_empty_sizes() -> None:
    with pytest.raises(ValueError, match="out_size is"):
        next(score_bands(torch.zeros(1, 1, 1, 1), [(0, 0, 4, 4)], (4, 4), out_size=(0, 3)))


def test_average_windows_sums_half_precision_in_float32() -> None:
    scores = torch.randn(4, 2, 2, 2).bfloat16()
    boxes = window_boxes((6, 6), (4, 4), (2, 2))
    mean = average_windows(scores, boxes, (6, 6))
    assert torch.equal(mean, average_windows(scores.float(), boxes, (6, 6)))


@pytest.mark.parametrize(
    ("shape", "boxes", "kwargs", "message"),
    [
        ((2, 3, 4), [(0, 0, 4, 4)], {}, r"shape \(2, 3, 4\)"),
        ((2, 3, 4, 4), [(0, 0, 4, 4)], {}, "1 boxes for the grids of 2 windows"),
        ((1, 3, 4, 4), [(0, 0, 4, 5)], {}, "inside it"),
        ((2, 3, 4, 4), [(0, 0, 4, 4), (0, 0, 4, 3)], {}, "one size"),
        ((1, 3, 4, 4), [(0, 0, 4, 4)], {"padded_size": (4, 3)}, "less than the windows'"),
        ((1, 3, 4, 4), [(0, 0, 4, 4)], {"rows": (2, 2)}, "ascending"),
        ((1, 3, 4, 4), [(0, 0, 3, 4)], {}, "uncovered"),
    ],
)
def test_average_windows_refuses(shape, boxes, kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        average_windows(torch.zeros(shape), boxes, (4, 4), **kwargs)


def test_shifted_boxes_worked_by_hand() -> None:
    # Patches of 4 x 6 pixels: shifts by 0 and 2 rows, and by 0 and 3 columns. 8 rows and 2 more are
    # three patches; 6 columns and 3 more are two.
    size = shifted_size((8, 6), (4, 6), 2)
    assert size == (12, 12)
    assert shifted_boxes((8, 6), size, size, (4, 6), 2) == [
        (0, 0, 12, 12),
        (-3, 0, 9, 12),
        (0, -2, 12, 10),
        (-3, -2, 9, 10),
    ]


@pytest.mark.parametrize("size", [(7, 30), (31, 9), (1, 1)])
def test_shifted_boxes_of_one_pass_are_window_boxes(size) -> None:
    assert shifted_size(size, (4, 4), 1) == size
    boxes = shifted_boxes(size, (8, 9), (3, 5), (4, 4), 1)
    assert boxes == window_boxes(size, (8, 9), (3, 5))


@pytest.mark.parametrize("size", [(7, 30), (31, 9), (1, 1), (16, 16)])
@pytest.mark.parametrize("window", [(4, 5), (8, 10), (99, 99)])
@pytest.mark.parametrize("shifts", [2, 3, 4])
def test_each_shifted_pass_covers_the_image(size, window, shifts) -> None:
    patch = (4, 5)
    boxes = shifted_boxes(size, window, window, patch, shifts)
    # The corner of a window tells its pass: here windows start at whole patches.
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for left, top, right, bottom in boxes:
        assert left < size[1] and top < size[0] and right > 0 and bottom > 0
        phase = seen.setdefault((-top % 4, -left % 5), torch.zeros(size))
        phase[max(top, 0) : bottom, max(left, 0) : right] += 1
    assert len(seen) == shifts**2
    assert {y for y, _ in seen} == {4 * i // shifts for i in range(shifts)}
    assert {x for _, x in seen} == {5 * i // shifts for i in range(shifts)}
    assert all(count.min() >= 1 for count in seen.values())


@pytest.mark.parametrize("shifts", [0, 5])
def test_shifted_boxes_refuse_more_shifts_than_pixels(shifts) -> None:
    with pytest.raises(ValueError, match=f"shifts is {shifts}, and a patch has 4 x 6 pixels"):
        shifted_boxes((9, 9), (4, 4), (4, 4), (4, 6), shifts)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 7)])
def test_reflected_crop_is_a_crop_of_the_padded_image(size) -> None:
    image = torch.randn(3, *size)
    padded = np.pad(image.numpy(), ((0, 0), (12, 12), (12, 12)), mode="reflect")
    for box in ((-4, -9, 6, 2), (0, 0, size[1], size[0]), (1, 0, 12, 11), (-1, -1, 0, 0)):
        left, top, right, bottom = box
        crop = reflected_crop(image, box)
        expected = padded[:, top + 12 : bottom + 12, left + 12 : right + 12]
        assert torch.equal(crop, torch.from_numpy(expected))


@pytest.mark.parametrize("out_size", [None, (5, 13), (25, 40)])
@pytest.mark.parametrize("max_elements", [1, 900, 2**24])
def test_score_bands_of_boxes_beyond_the_image(out_size, max_elements) -> None:
    """The same boxes on a canvas that holds all of them, cut to the image."""
    size, patch = (10, 13), (4, 4)
    boxes = shifted_boxes(size, (8, 8), (8, 8), patch, 3)
    scores = torch.randn(len(boxes), 3, 2, 2)
    canvas = [tuple(side + 8 for side in box) for box in boxes]
    total, count = torch.zeros(3, 40, 40), torch.zeros(40, 40)
    for grid, (left, top, right, bottom) in zip(scores, canvas, strict=True):
        total[:, top:bottom, left:right] += upsample_scores(grid, (8, 8), (8, 8))
        count[top:bottom, left:right] += 1
    expected = (total / count)[:, 8 : 8 + size[0], 8 : 8 + size[1]]
    if out_size is not None:
        expected = F.interpolate(expected[None], out_size, mode="bilinear")[0]
    bands = score_bands(
        scores, boxes, size, out_size=out_size, max_elements=max_elements, beyond=True
    )
    torch.testing.assert_close(torch.cat([band for _, band in bands], dim=1), expected)
    with pytest.raises(ValueError, match="inside it"):
        average_windows(scores, boxes, size)


def test_average_windows_refuses_boxes_off_the_image() -> None:
    scores = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="inside it"):
        average_windows(scores, [(0, 0, 4, 4), (4, 0, 8, 4)], (4, 4), beyond=True)
