"""Shifted passes of MaskCLIP: an oracle with padding and loops, and a tower of plain averages."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.ops import Refinement, smooth_by_keys, upsample_scores
from ovseg_d2.systems import MaskCLIP, PixelCLIPInference, image_passes
from ovseg_d2.text import ClassTexts


def _inputs(height: int, width: int, num_classes: int = 5) -> tuple[torch.Tensor, ClassTexts]:
    images = torch.randint(0, 256, (1, 3, height, width)).float()
    return images, ClassTexts(F.normalize(torch.randn(num_classes, 32), dim=-1))


def _mean_of_passes(
    tower: CLIPTower, images: torch.Tensor, texts: ClassTexts, shifts: int, **options: Any
) -> torch.Tensor:
    """Pad, score as one image, cut the image out; then the mean over all shifts."""
    height, width = images.shape[2:]
    room = 8 * (shifts - 1) // shifts
    bottom, right = -(height + room) % 8 + room, -(width + room) % 8 + room
    passes = []
    for down in (8 * i // shifts for i in range(shifts)):
        for across in (8 * i // shifts for i in range(shifts)):
            padding = (across, right - across, down, bottom - down)
            moved = F.pad(images, padding, mode="reflect")
            scores = MaskCLIP(tower, **options).score_pixels(moved, texts)
            passes.append(scores[:, :, down : down + height, across : across + width])
    return torch.stack(passes).mean(dim=0)


@pytest.mark.parametrize("image_size", [(32, 48), (37, 50), (21, 70)])
@pytest.mark.parametrize("shifts", [1, 2, 3])
def test_scores_are_the_mean_of_moved_passes(
    tower: CLIPTower, image_size: tuple[int, int], shifts: int
) -> None:
    images, texts = _inputs(*image_size)
    system = MaskCLIP(tower, shifts=shifts)
    scores = system.score_pixels(images, texts)
    if shifts == 1:
        assert torch.equal(scores, MaskCLIP(tower).score_pixels(images, texts))
        return
    expected = _mean_of_passes(tower, images, texts, shifts)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    assert (scores - MaskCLIP(tower).score_pixels(images, texts)).abs().max() > 1e-3
    assert torch.equal(system.segment(images, texts), scores.argmax(dim=1))


@pytest.mark.parametrize(
    "last_block",
    [
        LastBlock(residual="none", mlp=False),
        LastBlock(residual="class_token"),
        LastBlock(attention="full"),
        LastBlock(residual="none", mlp=False, attention="neighbourhood_kk"),
    ],
)
def test_all_last_blocks_are_shifted(tower: CLIPTower, last_block: LastBlock) -> None:
    images, texts = _inputs(20, 28)
    scores = MaskCLIP(tower, shifts=2, last_block=last_block).score_pixels(images, texts)
    expected = _mean_of_passes(tower, images, texts, 2, last_block=last_block)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_shifts_with_windows(tower: CLIPTower) -> None:
    """Windows of every pass count alike where the passes have as many of them."""
    images, texts = _inputs(28, 44)
    options = {"window": 16, "stride": 16}
    scores = MaskCLIP(tower, shifts=2, **options).score_pixels(images, texts)
    # 32 x 48 pixels of a pass are whole windows, none of which overlap.
    expected = _mean_of_passes(tower, images, texts, 2, **options)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_shifts_refine_all_passes_together(tower: CLIPTower) -> None:
    images, texts = _inputs(12, 12)
    system = MaskCLIP(tower, shifts=2, refine=Refinement(key_smoothing=1.0), logit_scale=20.0)
    moved = torch.cat(
        [F.pad(images, (x, 4 - x, y, 4 - y), mode="reflect") for y in (0, 4) for x in (0, 4)]
    )
    feats, keys = tower.dense_feats_and_keys(tower.normalize(moved), LastBlock())
    cosines = torch.einsum("bdhw,kd->bkhw", F.normalize(feats, dim=1), texts.embeds).detach()
    probs = (20 * cosines).softmax(dim=1).transpose(0, 1).flatten(1)[None, :, None]
    all_keys = keys.detach().transpose(0, 1).flatten(1)[None, :, None]
    smoothed = smooth_by_keys(probs, all_keys)[0, :, 0].unflatten(1, (4, 2, 2)).transpose(0, 1)
    whole = upsample_scores(smoothed, (16, 16), (16, 16))
    parts = [
        whole[2 * j + i][:, 4 * j : 4 * j + 12, 4 * i :][..., :12] for j in (0, 1) for i in (0, 1)
    ]
    expected = torch.stack(parts).mean(dim=0)
    torch.testing.assert_close(
        system.score_pixels(images, texts)[0], expected, rtol=1e-4, atol=1e-5
    )


def test_heat_maps_are_shifted(tower: CLIPTower) -> None:
    images, texts = _inputs(20, 28)
    maps = MaskCLIP(tower, shifts=2).heat_maps(images, texts)
    scale = tower.logit_scale.detach()
    expected = (scale * _mean_of_passes(tower, images, texts, 2)[0]).softmax(dim=0)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)


def test_pixelclip_shifts_the_resized_image(tower: CLIPTower) -> None:
    images, texts = _inputs(20, 28)
    system = PixelCLIPInference(tower, image_size=(24, 40), shifts=2)
    resized = F.interpolate(images, (24, 40), mode="bilinear", align_corners=False)
    expected = _mean_of_passes(tower, resized, texts, 2)
    expected = F.interpolate(expected, (20, 28), mode="bilinear", align_corners=False)
    torch.testing.assert_close(system.score_pixels(images, texts), expected, rtol=1e-4, atol=1e-5)


def test_passes_are_encoded_in_small_batches(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, texts = _inputs(12, 12)
    sizes: list[int] = []
    encode = MaskCLIP._encode

    def record(self: MaskCLIP, batch: torch.Tensor, embeds: torch.Tensor) -> Any:
        sizes.append(len(batch))
        return encode(self, batch, embeds)

    monkeypatch.setattr(MaskCLIP, "_encode", record)
    system = MaskCLIP(tower, shifts=4)
    together = system.score_pixels(images, texts)
    assert sizes == [8, 8]
    monkeypatch.setattr(image_passes, "_MOST_BYTES", 3 * tower.dense_bytes((24, 24)))
    sizes.clear()
    torch.testing.assert_close(system.score_pixels(images, texts), together)
    assert sizes == [3, 3, 3, 3, 3, 1]


class _MeanTower(nn.Module):
    """The features of a location are the mean colours of its patch."""

    patch_size, image_size, embed_dim, has_keys = (8, 8), (32, 32), 3, False
    logit_scale = torch.tensor(10.0)

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        return images / 255

    def dense_bytes(self, size: tuple[int, int]) -> int:
        return size[0] * size[1]

    def dense_feats(self, images: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return F.avg_pool2d(images, 8)


@pytest.mark.parametrize("moved_by", [(1, 0), (3, 5), (4, 7)])
def test_a_pass_for_each_pixel_of_a_patch_moves_with_the_image(moved_by: tuple[int, int]) -> None:
    """Scores of a tower that moves with its patches then move with single pixels, inside."""
    scene = F.avg_pool2d(torch.rand(1, 3, 75, 75) * 255, 4, 1)
    texts = ClassTexts(F.normalize(torch.randn(4, 3), dim=-1))
    down, across = moved_by
    here, there = scene[..., :64, :64], scene[..., down : down + 64, across : across + 64]

    def error(shifts: int) -> float:
        system = MaskCLIP(_MeanTower(), shifts=shifts)
        first, second = (system.score_pixels(image, texts) for image in (here, there))
        inside = first[..., 16 + down : 40 + down, 16 + across : 40 + across]
        return float((inside - second[..., 16:40, 16:40]).abs().max())

    assert error(8) < 1e-5
    assert error(1) > 1e-2


@pytest.mark.parametrize("shifts", [0, 9])
def test_refuses_shifts_that_are_no_part_of_a_patch(tower: CLIPTower, shifts: int) -> None:
    with pytest.raises(ValueError, match=f"shifts is {shifts}, .* give a number from 1 to 8"):
        MaskCLIP(tower, shifts=shifts)


def test_probabilities_are_averaged(tower: CLIPTower) -> None:
    """Softmax over all words at patches, then pixels, passes, and the best word of each class."""
    images, texts = _inputs(20, 28)
    words = ClassTexts(texts.embeds, class_ids=torch.tensor([0, 0, 1, 2, 2]))
    options = {"average": "probabilities", "logit_scale": 12.0}
    moved = [
        F.pad(images, (x, 12 - x, y, 4 - y), mode="reflect")[..., :32]
        for y in (0, 4)
        for x in (0, 4)
    ]
    probs = [(12 * MaskCLIP(tower)(image, texts.embeds).detach()).softmax(dim=1) for image in moved]
    pixels = [upsample_scores(p, (24, 32), (24, 32)) for p in probs]
    parts = [
        pixels[2 * j + i][0, :, 4 * j : 4 * j + 20, 4 * i : 4 * i + 28]
        for j in (0, 1)
        for i in (0, 1)
    ]
    mean = torch.stack(parts).mean(dim=0)
    system = MaskCLIP(tower, shifts=2, **options)
    torch.testing.assert_close(system.score_pixels(images, texts)[0], mean)
    torch.testing.assert_close(mean.sum(dim=0), torch.ones(20, 28))
    best = torch.stack([mean[:2].amax(0), mean[2], mean[3:].amax(0)])
    torch.testing.assert_close(system.score_pixels(images, words)[0], best)
    torch.testing.assert_close(system.heat_maps(images, words), best)
    one = ClassTexts(texts.embeds[:1])
    plain = MaskCLIP(tower, shifts=2)
    assert torch.equal(system.heat_maps(images, one), plain.heat_maps(images, one))
    smoothing = {"refine": Refinement(key_smoothing=1.0), "logit_scale": 12.0}
    assert torch.equal(
        MaskCLIP(tower, average="probabilities", **smoothing).score_pixels(images, texts),
        MaskCLIP(tower, **smoothing).score_pixels(images, texts),
    )
    with pytest.raises(ValueError, match="average is 'logits'; choose one of"):
        MaskCLIP(tower, average="logits")
