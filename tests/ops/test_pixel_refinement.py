"""Pixel-adaptive refinement: loops over pixels, borders, chunks and refusals."""

import numpy as np
import pytest
import torch

from ovseg_d2.ops import PixelRefinement, pixel_refinement, refine_pixels


def slow_refine(scores: np.ndarray, image: np.ndarray, options: PixelRefinement) -> np.ndarray:
    """Refine (K, H, W) scores one pixel at a time."""
    height, width = image.shape[1:]
    for _ in range(options.steps):
        out = np.zeros_like(scores)
        for y in range(height):
            for x in range(width):
                places = [
                    (min(max(y + dy * d, 0), height - 1), min(max(x + dx * d, 0), width - 1))
                    for d in options.dilations
                    for dy in (-1, 0, 1)
                    for dx in (-1, 0, 1)
                ]
                around = [place for i, place in enumerate(places) if i % 9 != 4]
                logits = np.zeros(len(around))
                for channel in image:
                    spread = np.std([channel[place] for place in places], ddof=1)
                    apart = [abs(channel[y, x] - channel[place]) for place in around]
                    logits -= np.array(apart) / (1e-8 + 0.1 * spread) / len(image)
                weights = np.exp(logits - logits.max())
                weights /= weights.sum()
                for weight, place in zip(weights, around, strict=True):
                    out[:, y, x] += weight * scores[:, place[0], place[1]]
        scores = out
    return scores


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (2, 5)])
def test_refine_pixels_equals_a_loop_over_pixels(dilations: tuple[int, ...]) -> None:
    options = PixelRefinement(steps=3, dilations=dilations)
    rng = np.random.default_rng(0)
    scores, image = rng.normal(size=(4, 6, 7)), rng.normal(size=(3, 6, 7))
    refined = refine_pixels(torch.tensor(scores), torch.tensor(image), options)
    np.testing.assert_allclose(refined.numpy(), slow_refine(scores, image, options), rtol=1e-9)


def test_refine_pixels_moves_an_edge_of_scores_to_an_edge_of_the_image() -> None:
    image = torch.zeros(3, 12, 20)
    image[:, :, 10:] = 200
    scores = torch.zeros(2, 12, 20)
    scores[0, :, :8] = scores[1, :, 8:] = 1.0
    labels = refine_pixels(scores, image, PixelRefinement(10, (1, 2))).argmax(dim=0)
    assert torch.equal(labels, (torch.arange(20) >= 10).long().expand(12, -1))


def test_refine_pixels_ignores_the_scale_of_the_image() -> None:
    scores, image = torch.rand(3, 9, 8).double(), torch.rand(3, 9, 8).double()
    options = PixelRefinement(4, (1, 3))
    plain = refine_pixels(scores, image, options)
    other = refine_pixels(scores, 60 * image + 100, options)
    torch.testing.assert_close(other, plain, rtol=0, atol=1e-5)


def test_refine_pixels_of_equal_colours_is_the_mean_of_neighbours() -> None:
    scores = torch.arange(25.0).reshape(1, 5, 5)
    refined = refine_pixels(scores, torch.ones(3, 5, 5), PixelRefinement(1, (1,)))
    assert refined[0, 2, 2] == 12 and refined[0, 0, 0] == pytest.approx(
        (0 * 3 + 1 * 2 + 5 * 2 + 6) / 8
    )


def test_refine_pixels_of_some_classes_at_once_is_the_same(monkeypatch) -> None:
    scores, image, options = torch.rand(5, 6, 6), torch.rand(3, 6, 6), PixelRefinement(2, (1,))
    whole = refine_pixels(scores, image, options)
    monkeypatch.setattr(pixel_refinement, "_MAX_ELEMENTS", 80)
    assert torch.equal(refine_pixels(scores, image, options), whole)
    assert refine_pixels(scores.half(), image.half(), options).dtype == torch.float32


@pytest.mark.parametrize("options", [(0, (8,)), (1, ()), (1, (8, 0))])
def test_refuses_options_that_spread_nothing(options) -> None:
    with pytest.raises(ValueError, match="spreads nothing; give at least 1 step"):
        PixelRefinement(*options)


@pytest.mark.parametrize("size", [(3, 6, 5), (1, 3, 6, 6)])
def test_refine_pixels_refuses_other_sizes(size) -> None:
    with pytest.raises(ValueError, match=r"scores have shape \(2, 6, 6\) and image"):
        refine_pixels(torch.rand(2, 6, 6), torch.rand(size), PixelRefinement())
