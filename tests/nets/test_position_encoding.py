"""`sine_positions`: worked values and loops."""

import math

import pytest
import torch

from ovseg_d2.nets import sine_positions


def test_sine_positions_worked_by_hand():
    """The angles of four rows are a quarter, a half, three quarters and all of a circle."""
    waves = sine_positions((4, 1), 4)
    torch.testing.assert_close(waves[0, :, 0], torch.tensor([1.0, 0, -1, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(waves[1, :, 0], torch.tensor([0.0, -1, 0, 1]), atol=1e-5, rtol=0)
    # The angle of the only column is a full circle.
    torch.testing.assert_close(
        waves[2:, :, 0], torch.tensor([[0.0], [1.0]]).expand(2, 4), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("size", "channels"), [((3, 5), 12), ((1, 1), 4), ((7, 2), 8)])
def test_sine_positions_equal_loops(size, channels):
    waves = sine_positions(size, channels, temperature=100.0)
    assert waves.shape == (channels, *size)
    half = channels // 2
    for c in range(channels):
        pair = (c % half) // 2
        wave = math.sin if c % 2 == 0 else math.cos
        for y in range(size[0]):
            for x in range(size[1]):
                place = (y + 1) / size[0] if c < half else (x + 1) / size[1]
                expected = wave(2 * math.pi * place / 100.0 ** (2 * pair / half))
                assert waves[c, y, x].item() == pytest.approx(expected, abs=1e-5)


def test_sine_positions_are_relative_to_the_image():
    coarse, fine = sine_positions((4, 4), 8), sine_positions((8, 8), 8)
    torch.testing.assert_close(fine[:, 1::2, 1::2], coarse, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [0, 2, 6])
def test_sine_positions_refuse_channels(channels):
    with pytest.raises(ValueError, match="give a multiple of 4"):
        sine_positions((2, 2), channels)
