"""Patches as vectors: the order of the tower's convolution, borders, and unit variance."""

import torch
from torch import nn

from ovseg_d2.ops import patch_pixels


def test_patch_pixels_have_the_order_of_a_convolution():
    images = torch.randn(2, 3, 8, 12)
    convolution = nn.Conv2d(3, 5, (4, 6), stride=(4, 6))
    expected = convolution(images).flatten(2).transpose(1, 2)
    pixels = patch_pixels(images, (4, 6), unit_variance=False)
    actual = pixels @ convolution.weight.flatten(1).t() + convolution.bias
    torch.testing.assert_close(actual, expected)


def test_patch_pixels_pad_with_zeros():
    pixels = patch_pixels(torch.ones(1, 1, 3, 3), (2, 2), unit_variance=False)
    assert pixels.tolist() == [[[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]]


def test_patch_pixels_of_unit_variance():
    images = 7 * torch.randn(2, 3, 8, 8) + 3
    images[0, :, :4, :4] = 5.0
    plain = patch_pixels(images, (4, 4), unit_variance=False)
    normalised = patch_pixels(images, (4, 4), unit_variance=True)
    assert normalised[0, 0].tolist() == [0.0] * 48
    for row, expected in zip(normalised.flatten(0, 1)[1:], plain.flatten(0, 1)[1:], strict=True):
        torch.testing.assert_close(row, (expected - expected.mean()) / expected.std())
