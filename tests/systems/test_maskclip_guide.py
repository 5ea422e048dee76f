"""MaskCLIP whose patches are compared by the features of another network."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import Affinity, CLIPTower, LastBlock
from ovseg_d2.ops import Refinement
from ovseg_d2.systems import MaskCLIP
from ovseg_d2.text import ClassTexts

PROXYCLIP = LastBlock(residual="none", mlp=False, attention="affinity")


def colours(images: torch.Tensor) -> torch.Tensor:
    """Mean colour of cells of 4 pixels, half a patch of the tower."""
    return F.avg_pool2d(images, 4) + 1


def texts_of(count: int = 5) -> ClassTexts:
    return ClassTexts(F.normalize(torch.randn(count, 32), dim=-1))


def test_scores_are_on_the_guides_grid(tower: CLIPTower):
    images, texts = torch.rand(2, 3, 32, 48) * 255, texts_of()
    scores = MaskCLIP(tower.eval(), last_block=PROXYCLIP, guide=colours)(images, texts.embeds)
    feats = tower.dense_feats(tower.normalize(images), PROXYCLIP, guide=colours(images))
    assert scores.shape == (2, 5, 8, 12)
    expected = torch.einsum("bdhw,kd->bkhw", F.normalize(feats, dim=1), texts.embeds)
    torch.testing.assert_close(scores, expected)


def test_guide_sees_the_padded_image_in_the_mean_colour(tower: CLIPTower):
    seen = []
    image = torch.rand(3, 30, 43) * 255
    system = MaskCLIP(tower, last_block=PROXYCLIP, guide=lambda x: seen.append(x) or colours(x))
    labels = system.segment([image], texts_of())[0]
    assert labels.shape == (30, 43) and seen[0].shape == (1, 3, 32, 48)
    torch.testing.assert_close(seen[0][0, :, :30, :43], image)
    assert (seen[0][0, :, 30:] - 127.5).abs().max() < 1e-3  # the tower's mean is 0.5
    official = MaskCLIP(
        tower,
        last_block=PROXYCLIP,
        official=True,
        guide=lambda x: seen.append(x) or colours(x),
    )
    assert official.segment([image], texts_of())[0].shape == (30, 43)
    assert torch.equal(seen[1][0], image)


def test_pixels_of_one_region_of_the_guide_have_one_score(tower: CLIPTower):
    def halves(images):
        left = torch.zeros(len(images), 2, images.shape[2] // 4, images.shape[3] // 4)
        left[:, 0, :, : left.shape[3] // 2] = 1
        left[:, 1, :, left.shape[3] // 2 :] = 1
        return left

    block = replace(PROXYCLIP, affinity=Affinity(mean_weight=1.0))
    image = torch.rand(1, 3, 32, 48) * 255
    scores = MaskCLIP(tower.eval(), last_block=block, guide=halves).score_patches(
        image, texts_of().embeds
    )
    left, right = scores[..., :6], scores[..., 6:]
    torch.testing.assert_close(left, left[..., :1, :1].expand_as(left))
    torch.testing.assert_close(right, right[..., :1, :1].expand_as(right))
    assert (left[0, :, 0, 0] - right[0, :, 0, 0]).abs().max() > 1e-4


def test_windows_and_heat_maps_use_the_guide(tower: CLIPTower):
    seen = []
    system = MaskCLIP(
        tower,
        last_block=PROXYCLIP,
        guide=lambda x: seen.append(x.shape) or colours(x),
        window=24,
        stride=16,
    )
    maps = system.heat_maps(torch.rand(1, 3, 32, 40) * 255, texts_of())
    assert maps.shape == (5, 32, 40)
    assert seen == [(4, 3, 24, 24)]


def test_a_guide_that_is_not_compared_is_not_called(tower: CLIPTower):
    images, texts = torch.rand(1, 3, 32, 32) * 255, texts_of()
    system = MaskCLIP(tower.eval(), guide=lambda _: pytest.fail("called"))
    torch.testing.assert_close(
        system(images, texts.embeds), MaskCLIP(tower.eval())(images, texts.embeds)
    )


def test_guides_are_refused_where_they_cannot_work(tower: CLIPTower):
    with pytest.raises(ValueError, match="guide is None; name one in MODEL.MASKCLIP.GUIDE.NAME"):
        MaskCLIP(tower, last_block=PROXYCLIP)
    with pytest.raises(
        ValueError, match="key_smoothing=1.0 has keys on the tower's grid, and it does"
    ):
        MaskCLIP(tower, last_block=PROXYCLIP, guide=colours, refine=Refinement(key_smoothing=1.0))
