import math

import pytest
import torch

from ovseg_d2.clip import resample_positions


def bicubic_weight(distance: float, a: float = -0.75) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * (x**3 - 5 * x**2 + 8 * x - 4)
    return 0.0


def slow_bicubic(grid: torch.Tensor, new_h: int, new_w: int, further: float = 0.0) -> torch.Tensor:
    """Interpolate (h, w, C) one output location at a time; pixel centres, clamped borders.

    Places are those of a grid that is ``further`` locations higher and wider.
    """
    h, w, _ = grid.shape
    out = torch.zeros(new_h, new_w, grid.shape[2], dtype=grid.dtype)
    for i in range(new_h):
        for j in range(new_w):
            y = (i + 0.5) * h / (new_h + further) - 0.5
            x = (j + 0.5) * w / (new_w + further) - 0.5
            for row in range(math.floor(y) - 1, math.floor(y) + 3):
                for column in range(math.floor(x) - 1, math.floor(x) + 3):
                    weight = bicubic_weight(y - row) * bicubic_weight(x - column)
                    out[i, j] += weight * grid[min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
    return out


@pytest.mark.parametrize("new_grid", [(5, 3), (2, 7), (1, 1), (8, 8)])
def test_positions_equal_a_slow_bicubic_interpolation(new_grid):
    pos_embed = torch.randn(1 + 3 * 4, 6, dtype=torch.float64)
    resampled = resample_positions(pos_embed, (3, 4), new_grid)
    expected = slow_bicubic(pos_embed[1:].reshape(3, 4, 6), *new_grid).reshape(-1, 6)
    torch.testing.assert_close(resampled[1:], expected)
    assert torch.equal(resampled[0], pos_embed[0])


@pytest.mark.parametrize("new_grid", [(5, 3), (2, 7), (1, 1), (21, 28)])
def test_official_positions_are_those_of_a_slightly_larger_grid(new_grid):
    pos_embed = torch.randn(1 + 3 * 4, 6, dtype=torch.float64)
    resampled = resample_positions(pos_embed, (3, 4), new_grid, official=True)
    patches = pos_embed[1:].reshape(3, 4, 6)
    expected = slow_bicubic(patches, *new_grid, further=0.1).reshape(-1, 6)
    torch.testing.assert_close(resampled[1:], expected)
    assert torch.equal(resampled[0], pos_embed[0])


def test_official_positions_ignore_the_shape_of_an_equal_count():
    pos_embed = torch.randn(1 + 16, 5)
    assert resample_positions(pos_embed, (2, 8), (4, 4), official=True) is pos_embed


def test_positions_of_the_same_grid_are_unchanged():
    pos_embed = torch.randn(1 + 6, 5)
    assert resample_positions(pos_embed, (2, 3), (2, 3)) is pos_embed


def test_positions_of_another_shape_are_resampled():
    pos_embed = torch.randn(1 + 16, 5)
    resampled = resample_positions(pos_embed, (2, 8), (4, 4))
    expected = slow_bicubic(pos_embed[1:].reshape(2, 8, 5), 4, 4).reshape(16, 5)
    torch.testing.assert_close(resampled[1:], expected)
    assert not torch.allclose(resampled[1:], pos_embed[1:], atol=0.1)


@pytest.mark.parametrize("num_prefix_tokens", [0, 1, 3])
def test_prefix_tokens_are_kept(num_prefix_tokens):
    pos_embed = torch.randn(num_prefix_tokens + 4, 5)
    resampled = resample_positions(pos_embed, (2, 2), (3, 5), num_prefix_tokens)
    assert resampled.shape == (num_prefix_tokens + 15, 5)
    assert torch.equal(resampled[:num_prefix_tokens], pos_embed[:num_prefix_tokens])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_interpolated_in_float32(dtype):
    pos_embed = torch.randn(1 + 16, 5).to(dtype)
    resampled = resample_positions(pos_embed, (4, 4), (7, 3))
    expected = resample_positions(pos_embed.float(), (4, 4), (7, 3)).to(dtype)
    assert resampled.dtype == dtype
    assert torch.equal(resampled, expected)


def test_gradient_reaches_every_position():
    pos_embed = torch.randn(1 + 9, 5, requires_grad=True)
    resample_positions(pos_embed, (3, 3), (5, 4)).square().sum().backward()
    assert (pos_embed.grad.abs().sum(dim=1) > 0).all()


def test_positions_refuse_a_wrong_grid():
    with pytest.raises(ValueError, match=r"17 rows.*old_grid=\(3, 5\).*needs 16"):
        resample_positions(torch.randn(17, 5), (3, 5), (4, 4))
