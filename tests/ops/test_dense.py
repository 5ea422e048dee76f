"""Upsampling and streamed argmax against hand values and the plain computation."""

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.ops import dense_argmax, upsample_scores


def test_upsample_scores_worked_by_hand() -> None:
    # Two cells over 4 pixels: their centres lie at pixels 0.5 and 2.5; between them it is linear.
    scores = torch.tensor([[[0.0, 4.0]]])
    assert upsample_scores(scores, (1, 4), (1, 4)).tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    # Without one pixel of padding the others do not change.
    assert upsample_scores(scores, (1, 4), (1, 3)).tolist() == [[[0.0, 1.0, 3.0]]]
    # The second resizing sees the image alone: 3 pixels to 6.
    expected = [[[0.0, 0.25, 0.75, 1.5, 2.5, 3.0]]]
    assert upsample_scores(scores, (1, 4), (1, 3), (1, 6)).tolist() == expected


def test_upsample_scores_keeps_batch_and_dtype() -> None:
    scores = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    out = upsample_scores(scores, (32, 40), (30, 33), (20, 50))
    assert out.shape == (2, 3, 20, 50)
    assert out.dtype == torch.float64
    torch.testing.assert_close(out[1], upsample_scores(scores[1], (32, 40), (30, 33), (20, 50)))


def test_upsample_scores_is_differentiable() -> None:
    scores = torch.randn(2, 4, 5, requires_grad=True)
    upsample_scores(scores, (8, 10), (7, 9), (5, 5)).sum().backward()
    assert scores.grad is not None
    # Bilinear weights of an output pixel sum to 1, so the gradients sum to the pixels.
    assert scores.grad.sum().item() == pytest.approx(2 * 25, rel=1e-5)


def _assert_same(labels: torch.Tensor, plain: torch.Tensor) -> None:
    """Check that labels are the argmax of plain scores (K, H, W), except in ties by rounding."""
    top = plain.topk(min(2, len(plain)), dim=0).values
    clear = (top[0] - top[-1]) > 1e-5 if len(plain) > 1 else torch.ones_like(labels).bool()
    assert clear.float().mean() > 0.98
    assert torch.equal(labels[clear], plain.argmax(dim=0)[clear])


@pytest.mark.parametrize("max_elements", [1, 1000, 2**24])
@pytest.mark.parametrize("size", [(40, 56), (33, 90), (3, 2), (1, 1)])
def test_dense_argmax_equals_interpolate_and_argmax(
    size: tuple[int, int], max_elements: int
) -> None:
    scores = torch.randn(7, 5, 7)
    labels = dense_argmax(scores, size, max_elements=max_elements)
    plain = F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    assert labels.dtype == torch.long
    _assert_same(labels, plain)


@pytest.mark.parametrize("max_elements", [1, 1000, 2**24])
@pytest.mark.parametrize("out_size", [(37, 53), (80, 101), (20, 9)])
def test_argmax_of_a_padded_image(out_size: tuple[int, int], max_elements: int) -> None:
    scores, crop, image_size = torch.randn(6, 5, 7), (40, 56), (37, 53)
    labels, best = dense_argmax(
        scores,
        out_size,
        crop=crop,
        image_size=image_size,
        max_elements=max_elements,
        return_scores=True,
    )
    plain = upsample_scores(scores, crop, image_size, out_size)
    _assert_same(labels, plain)
    torch.testing.assert_close(best, plain.max(dim=0).values, rtol=0, atol=1e-5)


def test_dense_argmax_crops_padding_without_image_size() -> None:
    scores = torch.randn(4, 3, 3)
    labels = dense_argmax(scores, (20, 23), crop=(24, 24))
    plain = F.interpolate(scores[None], size=(24, 24), mode="bilinear", align_corners=False)[0]
    _assert_same(labels, plain[:, :20, :23])


@pytest.mark.parametrize("max_elements", [1, 2**24])
def test_dense_argmax_ties_go_to_the_lowest_index(max_elements: int) -> None:
    scores = torch.randn(3, 4, 5)
    # Classes 3..5 and 6..8 repeat 0..2: every pixel has a tie of three.
    labels = dense_argmax(scores.repeat(3, 1, 1), (31, 47), max_elements=max_elements)
    assert torch.equal(labels, dense_argmax(scores, (31, 47), max_elements=max_elements))
    zeros = dense_argmax(torch.zeros(5, 2, 2), (9, 9), max_elements=max_elements)
    assert torch.equal(zeros, torch.zeros(9, 9, dtype=torch.long))


def test_dense_argmax_is_independent_of_the_band_size() -> None:
    scores = torch.randn(9, 6, 5)
    kwargs = {"crop": (48, 40), "image_size": (47, 33)}
    one = dense_argmax(scores, (70, 31), max_elements=1, return_scores=True, **kwargs)
    all_at_once = dense_argmax(scores, (70, 31), return_scores=True, **kwargs)
    assert torch.equal(one[0], all_at_once[0])
    assert torch.equal(one[1], all_at_once[1])


def test_dense_argmax_of_a_batch() -> None:
    scores = torch.randn(3, 4, 5, 6)
    labels, best = dense_argmax(scores, (22, 17), return_scores=True)
    assert labels.shape == best.shape == (3, 22, 17)
    assert torch.equal(labels[2], dense_argmax(scores[2], (22, 17)))


def test_dense_argmax_bounds_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    original = F.interpolate

    def watch(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal largest
        out = original(*args, **kwargs)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(F, "interpolate", watch)
    dense_argmax(torch.randn(50, 4, 4), (64, 64), max_elements=10_000)
    assert 0 < largest <= 10_000


def test_dense_argmax_computes_half_precision_in_float32() -> None:
    scores = torch.randn(8, 6, 6)
    half = scores.bfloat16()
    assert torch.equal(dense_argmax(half, (50, 50)), dense_argmax(half.float(), (50, 50)))
    _, best = dense_argmax(scores.double(), (5, 5), return_scores=True)
    assert best.dtype == torch.float64


@pytest.mark.parametrize(
    ("shape", "kwargs", "message"),
    [
        ((0, 4, 4), {}, r"shape \(0, 4, 4\)"),
        ((4, 4), {}, r"shape \(4, 4\)"),
        ((2, 4, 4), {"size": (0, 5)}, "at least 1 pixel"),
        ((2, 4, 4), {"crop": (7, 8)}, r"image size \(8, 8\) exceeds the padded size \(7, 8\)"),
        ((2, 4, 4), {"crop": (9, 9), "image_size": (9, 10)}, "exceeds the padded size"),
    ],
)
def test_dense_argmax_refuses(
    shape: tuple[int, ...], kwargs: dict[str, tuple[int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dense_argmax(torch.zeros(shape), **({"size": (8, 8)} | kwargs))


def test_upsample_scores_and_dense_argmax_refuse_integers() -> None:
    with pytest.raises(ValueError, match=r"dtype torch\.int64"):
        upsample_scores(torch.zeros(2, 3, 3, dtype=torch.long), (6, 6), (6, 6))
    with pytest.raises(ValueError, match=r"dtype torch\.int64"):
        dense_argmax(torch.zeros(2, 3, 3, dtype=torch.long), (6, 6))
