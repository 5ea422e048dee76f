"""Joint bilateral upsampling: loops over pixels and cells, edges, bands and refusals."""

import math

import numpy as np
import pytest
import torch

from ovseg_d2.ops import GuidedUpsampling, guided_upsampling, upsample_by_colour


def slow_upsample(cells: np.ndarray, image: np.ndarray, options: GuidedUpsampling) -> np.ndarray:
    """Upsample (K, h, w) scores one pixel at a time."""
    num_classes, grid_h, grid_w = cells.shape
    channels, height, width = image.shape
    # Mean colours of cells; pixels that a border cuts count for both of its sides.
    means = np.zeros((channels, grid_h, grid_w))
    for v in range(grid_h):
        for u in range(grid_w):
            rows = slice(v * height // grid_h, math.ceil((v + 1) * height / grid_h))
            columns = slice(u * width // grid_w, math.ceil((u + 1) * width / grid_w))
            means[:, v, u] = image[:, rows, columns].mean(axis=(1, 2))
    out = np.zeros((num_classes, height, width))
    for y in range(height):
        for x in range(width):
            place = (y + 0.5) * grid_h / height - 0.5, (x + 0.5) * grid_w / width - 0.5
            centre = round(place[0]), round(place[1])
            total = 0.0
            for v in range(centre[0] - options.radius, centre[0] + options.radius + 1):
                for u in range(centre[1] - options.radius, centre[1] + options.radius + 1):
                    if 0 <= v < grid_h and 0 <= u < grid_w:
                        apart = math.dist(place, (v, u)) / options.space_std
                        colour = math.dist(image[:, y, x], means[:, v, u]) / options.colour_std
                        weight = math.exp(-(apart**2 + colour**2) / 2)
                        out[:, y, x] += weight * cells[:, v, u]
                        total += weight
            out[:, y, x] /= total
    return out


def upsample(cells: torch.Tensor, image: torch.Tensor, options: GuidedUpsampling) -> torch.Tensor:
    return torch.cat(list(upsample_by_colour(cells, image, options)), dim=1)


@pytest.mark.parametrize(("grid", "size"), [((2, 3), (8, 9)), ((3, 2), (7, 11)), ((1, 5), (4, 5))])
@pytest.mark.parametrize("options", [GuidedUpsampling(1, 0.6, 20.0), GuidedUpsampling(2, 1.5, 80)])
def test_upsample_by_colour_equals_a_loop_over_pixels(grid, size, options) -> None:
    rng = np.random.default_rng(0)
    cells, image = rng.normal(size=(4, *grid)), rng.uniform(0, 255, size=(3, *size))
    result = upsample(torch.tensor(cells), torch.tensor(image), options)
    np.testing.assert_allclose(result.numpy(), slow_upsample(cells, image, options), rtol=1e-9)


def test_upsample_by_colour_finds_the_edge_that_a_patch_hides() -> None:
    image = torch.zeros(3, 16, 24)
    image[:, :, 11:] = 200
    cells = torch.zeros(2, 2, 3)
    cells[0, :, 0] = cells[1, :, 2] = 1.0
    cells[:, :, 1] = 0.5
    labels = upsample(cells, image, GuidedUpsampling(1, 1.0, 30.0)).argmax(dim=0)
    assert torch.equal(labels, (torch.arange(24) >= 11).long().expand(16, -1))


def test_upsample_by_colour_in_bands_is_the_same(monkeypatch) -> None:
    cells, image, options = torch.rand(5, 4, 3), 255 * torch.rand(3, 20, 17), GuidedUpsampling()
    whole = upsample(cells, image, options)
    monkeypatch.setattr(guided_upsampling, "_MAX_ELEMENTS", 5000)
    bands = list(upsample_by_colour(cells, image, options))
    assert [band.shape[1] for band in bands] == [2] * 10
    torch.testing.assert_close(torch.cat(bands, dim=1), whole)


def test_upsample_by_colour_keeps_constants_and_float32() -> None:
    result = upsample(torch.full((2, 3, 3), 0.5).half(), torch.rand(3, 9, 9), GuidedUpsampling())
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.full((2, 9, 9), 0.5))


@pytest.mark.parametrize("options", [(0, 1.0, 30.0), (1, 0.0, 30.0), (1, 1.0, -1.0)])
def test_refuses_options_that_reach_nothing(options) -> None:
    with pytest.raises(ValueError, match="reaches no cell; give a radius of at least 1"):
        GuidedUpsampling(*options)


@pytest.mark.parametrize("size", [(3, 6, 3), (3, 3, 6), (1, 3, 6, 6)])
def test_upsample_by_colour_refuses_other_sizes(size) -> None:
    with pytest.raises(ValueError, match=r"cells have shape \(2, 4, 4\) and image"):
        upsample(torch.rand(2, 4, 4), torch.rand(size), GuidedUpsampling())
