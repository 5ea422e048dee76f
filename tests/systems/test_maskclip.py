"""MaskCLIP: cosines on the grid, labels at pixels, and the official implementation's numbers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2 import image_errors
from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.image_errors import ImageTooLargeError
from ovseg_d2.ops import (
    Background,
    GuidedUpsampling,
    PixelRefinement,
    Refinement,
    refine_pixels,
    smooth_by_keys,
    upsample_by_colour,
    upsample_scores,
)
from ovseg_d2.systems import MaskCLIP, image_passes
from ovseg_d2.text import ClassTexts


def _inputs(height: int, width: int, num_classes: int = 5) -> tuple[torch.Tensor, ClassTexts]:
    images = torch.randint(0, 256, (2, 3, height, width)).float()
    return images, ClassTexts(F.normalize(torch.randn(num_classes, 32), dim=-1))


def test_forward_is_cosines_of_dense_features(tower: CLIPTower) -> None:
    images, texts = _inputs(32, 48)
    scores = MaskCLIP(tower)(images, texts.embeds)
    feats = tower.dense_feats(tower.normalize(images), LastBlock())
    expected = torch.zeros(2, 5, 4, 6)
    for b in range(2):
        for k in range(5):
            for y in range(4):
                for x in range(6):
                    expected[b, k, y, x] = F.cosine_similarity(
                        feats[b, :, y, x], texts.embeds[k], dim=0
                    )
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert scores.abs().max() <= 1 + 1e-6


def test_forward_under_autocast_is_float32(tower: CLIPTower) -> None:
    images, _ = _inputs(32, 48)
    # Some hundred classes within what half precision would round to one number.
    base = F.normalize(torch.randn(1, 32), dim=-1)
    text_embeds = F.normalize(base + 1e-3 * torch.randn(200, 32), dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        scores = MaskCLIP(tower)(images, text_embeds)
    assert scores.dtype == torch.float32
    assert all(len(location.unique()) > 190 for location in scores.movedim(1, -1).reshape(-1, 200))


def test_forward_uses_the_last_block(tower: CLIPTower) -> None:
    images, texts = _inputs(32, 32)
    plain = MaskCLIP(tower)(images, texts.embeds)
    bare = MaskCLIP(tower, last_block=LastBlock(residual="none", mlp=False))(images, texts.embeds)
    assert (plain - bare).abs().max() > 1e-3


def test_forward_gradients(tower: CLIPTower) -> None:
    images, texts = _inputs(16, 16)
    images.requires_grad_()
    texts.embeds.requires_grad_()
    MaskCLIP(tower)(images, texts.embeds).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert texts.embeds.grad is not None
    assert tower.model.visual.conv1.weight.grad.abs().sum() > 0
    assert tower.model.text_projection.grad is None


@pytest.mark.parametrize("image_size", [(32, 32), (37, 50), (5, 70)])
@pytest.mark.parametrize("size", [None, (61, 40)])
def test_segment_is_argmax_of_scores(
    tower: CLIPTower, image_size: tuple[int, int], size: tuple[int, int] | None
) -> None:
    images, texts = _inputs(*image_size)
    system = MaskCLIP(tower)
    labels = system.segment(images, texts, size)
    scores = system(images, texts.embeds).detach()
    padded = (-(-image_size[0] // 8) * 8, -(-image_size[1] // 8) * 8)
    expected = upsample_scores(scores, padded, image_size, size)
    assert labels.dtype == torch.long
    assert labels.shape == (2, *(size or image_size))
    # Rounding may decide pixels where two classes all but tie.
    top = expected.topk(2, dim=1).values
    clear = (top[:, 0] - top[:, 1]) > 1e-5
    assert clear.float().mean() > 0.95
    assert torch.equal(labels[clear], expected.argmax(dim=1)[clear])


def test_forward_of_a_batch_equals_single_images(tower: CLIPTower) -> None:
    images, texts = _inputs(24, 40)
    system = MaskCLIP(tower)
    together = system(images, texts.embeds)
    alone = torch.cat([system(images[i : i + 1], texts.embeds) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_segment_restores_training_modes(tower: CLIPTower) -> None:
    seen = []
    tower.model.visual.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    norm = tower.model.visual.ln_post
    norm.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    system = MaskCLIP(tower).train()
    norm.eval()
    images, texts = _inputs(16, 16)
    labels = system.segment(images, texts)
    assert seen
    assert not any(seen)
    assert not labels.requires_grad
    assert system.training
    assert tower.training
    assert not norm.training


def test_forward_with_half_precision_texts(tower: CLIPTower) -> None:
    images, texts = _inputs(16, 16)
    assert MaskCLIP(tower)(images, texts.embeds.bfloat16()).dtype == torch.float32


def test_segment_one_class_and_integer_images(tower: CLIPTower) -> None:
    images, texts = _inputs(16, 16, num_classes=1)
    labels = MaskCLIP(tower).segment(images.to(torch.uint8), texts)
    assert torch.equal(labels, torch.zeros(2, 16, 16, dtype=torch.long))


@pytest.mark.parametrize("shape", [(5, 16), (32,), (1, 5, 32)])
def test_forward_refuses_texts(tower: CLIPTower, shape: tuple[int, ...]) -> None:
    images, _ = _inputs(16, 16)
    with pytest.raises(ValueError, match="embeds have shape"):
        MaskCLIP(tower)(images, torch.ones(shape))


def test_state_dict_is_that_of_the_tower(tower: CLIPTower) -> None:
    expected = {f"tower.{name}" for name in tower.state_dict()}
    assert set(MaskCLIP(tower).state_dict()) == expected


# --- at pixels: refinement, windows, background, words, images of several sizes ---


def test_score_pixels_agrees_with_segment_and_forward(tower: CLIPTower) -> None:
    images, texts = _inputs(37, 50)
    for system in (MaskCLIP(tower), MaskCLIP(tower, refine=Refinement(0.3, 0.9), window=24)):
        scores = system.score_pixels(images, texts, (20, 31))
        assert scores.shape == (2, 5, 20, 31)
        labels = system.segment(images, texts, (20, 31))
        assert torch.equal(scores.argmax(dim=1), labels)
    plain = MaskCLIP(tower).score_pixels(images, texts)
    grid = MaskCLIP(tower)(images, texts.embeds).detach()
    torch.testing.assert_close(plain, upsample_scores(grid, (40, 56), (37, 50)))


def test_score_pixels_denoises_then_smooths(
    tower: CLIPTower,
) -> None:
    images, texts = _inputs(32, 48)
    tower.model.logit_scale.data.fill_(3.0)
    feats, keys = tower.dense_feats_and_keys(tower.normalize(images), LastBlock())
    cosines = torch.einsum("bdhw,kd->bkhw", F.normalize(feats, dim=1), texts.embeds)
    confidence = (cosines * math.exp(3)).softmax(dim=1).amax(dim=(2, 3))
    threshold = float(confidence.detach().median())  # some classes go, some stay
    denoised = cosines.masked_fill((confidence < threshold)[..., None, None], -100)
    expected = smooth_by_keys((denoised * math.exp(3)).softmax(dim=1), keys, 0.8)
    system = MaskCLIP(tower, refine=Refinement(threshold, 0.8))
    scores = system.score_pixels(images, texts)
    torch.testing.assert_close(
        scores, upsample_scores(expected.detach(), (32, 48), (32, 48)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(system(images, texts.embeds), cosines, rtol=1e-4, atol=1e-5)
    # A scale of one's own takes the place of the tower's.
    other = MaskCLIP(tower, refine=system.refine, logit_scale=1.0)
    assert (other.score_pixels(images, texts) - scores).abs().max() > 1e-3


def test_score_pixels_averages_windows(tower: CLIPTower) -> None:
    images, texts = _inputs(33, 50)
    system = MaskCLIP(tower, window=(20, 24), stride=(10, 15))
    scores = system.score_pixels(images, texts)
    total, count = torch.zeros(2, 5, 33, 50), torch.zeros(33, 50)
    for top in (0, 10, 13):
        for left in (0, 15, 26):
            crop = images[:, :, top : top + 20, left : left + 24]
            grid = MaskCLIP(tower)(crop, texts.embeds).detach()
            seen = upsample_scores(grid, (24, 24), (20, 24))
            total[:, :, top : top + 20, left : left + 24] += seen
            count[top : top + 20, left : left + 24] += 1
    torch.testing.assert_close(scores, total / count, rtol=1e-4, atol=1e-5)


def test_score_pixels_refines_windows_together(tower: CLIPTower) -> None:
    images, texts = _inputs(16, 32)
    system = MaskCLIP(
        tower, window=16, stride=16, refine=Refinement(key_smoothing=1.0), logit_scale=20.0
    )
    scores = system.score_pixels(images[:1], texts)
    halves = images[0].unflatten(2, (2, 16)).permute(2, 0, 1, 3)  # left, right
    feats, keys = tower.dense_feats_and_keys(tower.normalize(halves), LastBlock())
    cosines = torch.einsum("bdhw,kd->bkhw", F.normalize(feats, dim=1), texts.embeds).detach()
    # All locations of the image in one row.
    probs = (20 * cosines).softmax(dim=1).flatten(2).transpose(0, 1).flatten(1)[None, :, None]
    all_keys = keys.detach().flatten(2).transpose(0, 1).flatten(1)[None, :, None]
    smoothed = smooth_by_keys(probs, all_keys)[0, :, 0].unflatten(1, (2, 2, 2)).transpose(0, 1)
    parts = [upsample_scores(half, (16, 16), (16, 16)) for half in smoothed]
    torch.testing.assert_close(scores[0], torch.cat(parts, dim=2), rtol=1e-4, atol=1e-5)


def test_score_pixels_with_a_window_above_the_image(tower: CLIPTower) -> None:
    images, texts = _inputs(20, 30)
    windowed = MaskCLIP(tower, window=64).score_pixels(images, texts)
    torch.testing.assert_close(windowed, MaskCLIP(tower).score_pixels(images, texts))


def test_segment_images_of_different_sizes(tower: CLIPTower) -> None:
    _, texts = _inputs(8, 8)
    images = [torch.rand(3, *size) * 255 for size in ((16, 40), (33, 20), (8, 8))]
    system = MaskCLIP(tower, window=16, refine=Refinement(0.3, 0.5))
    labels = system.segment(images, texts)
    assert [tuple(result.shape) for result in labels] == [(16, 40), (33, 20), (8, 8)]
    for image, image_labels in zip(images, labels, strict=True):
        assert torch.equal(system.segment(image[None], texts)[0], image_labels)
    scores = system.score_pixels(images, texts, [(5, 6), (7, 8), (9, 10)])
    assert [tuple(result.shape) for result in scores] == [(5, 5, 6), (5, 7, 8), (5, 9, 10)]
    assert [tuple(result.shape) for result in system.segment(images, texts, (4, 3))] == [(4, 3)] * 3
    assert system.segment([], texts) == []


def test_segment_follows_sclip(tower: CLIPTower) -> None:
    """Softmax at pixels over all words, best word, small classes, doubtful pixels."""
    images, texts = _inputs(40, 48, num_classes=7)
    class_ids, threshold, min_share = torch.tensor([0, 0, 0, 1, 1, 2, 3]), 0.2, 0.25
    system = MaskCLIP(
        tower, window=24, logit_scale=8.0, background=Background(threshold, min_share)
    )
    labels = system.segment(images, replace(texts, class_ids=class_ids, background_ids=[0]))
    cosines = MaskCLIP(tower, window=24).score_pixels(images, texts)
    result = set()
    for image_cosines, image_labels in zip(cosines, labels, strict=True):
        words = (8 * image_cosines).softmax(dim=0)
        probs = torch.stack([words[class_ids == k].amax(dim=0) for k in range(4)])
        winners = probs.argmax(dim=0)
        areas = [int((winners == k).sum()) for k in range(4)]
        for k in (1, 2, 3):
            if areas[k] <= min_share * sum(areas[1:]):
                probs[k] = 0
                result.add("small")
        best, expected = probs.max(dim=0)
        if (best < threshold).any():
            result.add("doubtful")
        expected[best < threshold] = 0
        assert torch.equal(image_labels, expected)
        result.update(expected.unique().tolist())
    assert {"small", "doubtful", 0} < result


def test_pixels_are_refined_before_words_are_compared(tower: CLIPTower) -> None:
    """PAMR on the cosines of all words and the resized image, then [naclip]'s softmax."""
    images, texts = _inputs(40, 48, num_classes=7)
    class_ids, pixels, size = (
        torch.tensor([0, 0, 0, 1, 1, 2, 3]),
        PixelRefinement(3, (1, 4)),
        (70, 61),
    )
    options = {"window": 24, "logit_scale": 8.0}
    cosines = MaskCLIP(tower, **options).score_pixels(images, texts, size)
    system = MaskCLIP(tower, **options, pixels=pixels, background=Background(threshold=0.3))
    classes = replace(texts, class_ids=class_ids, background_ids=[0])
    labels = system.segment(images, classes, size)
    assert torch.equal(system.score_pixels(images, classes, size).argmax(dim=1), labels)
    colours = F.interpolate(tower.normalize(images), size, mode="bilinear")
    for image_cosines, image_colours, image_labels in zip(cosines, colours, labels, strict=True):
        words = (8 * refine_pixels(image_cosines, image_colours, pixels)).softmax(dim=0)
        probs = torch.stack([words[class_ids == k].amax(dim=0) for k in range(4)])
        best, expected = probs.max(dim=0)
        expected[best < 0.3] = 0
        assert torch.equal(image_labels, expected)
        plain = torch.stack(
            [(8 * image_cosines).softmax(0)[class_ids == k].amax(0) for k in range(4)]
        )
        assert (image_labels == plain.argmax(dim=0)).float().mean() < 0.95


def test_guided_upsampling_reads_scores_at_the_centres_of_patches(tower: CLIPTower) -> None:
    """The mean of windows on a grid of patches, then the colours of the resized image."""
    images, texts = _inputs(40, 50, num_classes=4)
    guided, size = GuidedUpsampling(1, 0.8, 40.0), (31, 61)
    options = {"window": 24, "stride": 16}
    cells = MaskCLIP(tower, **options).score_pixels(images, texts, (5, 7))
    scores = MaskCLIP(tower, **options, guided=guided).score_pixels(images, texts, size)
    colours = F.interpolate(images, size, mode="bilinear")
    for image_cells, image_colours, image_scores in zip(cells, colours, scores, strict=True):
        bands = list(upsample_by_colour(image_cells, image_colours, guided))
        torch.testing.assert_close(image_scores, torch.cat(bands, dim=1))
    pixels = PixelRefinement(2, (1, 3))
    both = MaskCLIP(tower, **options, guided=guided, pixels=pixels)
    refined = refine_pixels(scores[0], colours[0], pixels)
    result = both.score_pixels(images, texts, size)[0]
    torch.testing.assert_close(result, refined, rtol=0, atol=1e-4)
    # A result smaller than the grid has no cell smaller than a pixel.
    assert both.score_pixels(images, texts, (3, 2)).isfinite().all()


@pytest.mark.parametrize("method", ["SCLIP", "NACLIP", "ClearCLIP"])
def test_official_drops_the_remainder_where_patches_correlate(
    tower: CLIPTower, method: str
) -> None:
    """The grid of the whole patches stands for the whole image."""
    blocks = {
        "SCLIP": LastBlock(attention="qq+kk"),
        "NACLIP": LastBlock(residual="none", mlp=False, attention="neighbourhood_kk"),
        "ClearCLIP": LastBlock(residual="none", mlp=False, attention="qq"),
    }
    images, texts = _inputs(21, 39)
    system = MaskCLIP(tower, last_block=blocks[method], official=True)
    scores = system.score_pixels(images, texts, (30, 50))
    grids = MaskCLIP(tower, last_block=blocks[method], official=True)(
        images[..., :16, :32], texts.embeds
    )
    assert grids.shape[2:] == (2, 4)
    resized = F.interpolate(grids, (21, 39), mode="bilinear")
    torch.testing.assert_close(scores, F.interpolate(resized, (30, 50), mode="bilinear"))
    with pytest.raises(ValueError, match="images of 5x39 pixels are smaller than 8x8"):
        system.score_pixels(images[..., :5, :], texts)


def test_segment_merges_background_classes(tower: CLIPTower) -> None:
    images, texts = _inputs(24, 24)
    plain = MaskCLIP(tower).segment(images, texts)
    merged = MaskCLIP(tower).segment(images, replace(texts, background_ids=(3, 0, 1)))
    expected = plain.clone()
    expected[torch.isin(plain, torch.tensor([0, 1]))] = 3
    assert torch.equal(merged, expected)
    assert not torch.equal(merged, plain)


def test_segment_refines_classes_not_words(tower: CLIPTower) -> None:
    # Class 0 has the same word five times: each alone would be below one half and be removed.
    images, texts = _inputs(16, 16, num_classes=2)
    rows = torch.cat([texts.embeds[:1].expand(5, -1), texts.embeds[1:]])
    class_ids = torch.tensor([0, 0, 0, 0, 0, 1])
    system = MaskCLIP(tower, refine=Refinement(prompt_denoising=0.5))
    assert torch.equal(
        system.segment(images, ClassTexts(rows, class_ids=class_ids)),
        system.segment(images, texts),
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"stride": 8}, "stride=8 without a window"),
        ({"window": 8, "stride": 9}, "leaves pixels that no window sees"),
        ({"window": 0}, "at least 1 pixel"),
        ({"logit_scale": 0.0}, "logit_scale is 0.0"),
    ],
)
def test_refuses_options(tower: CLIPTower, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskCLIP(tower, **kwargs)


def test_segment_refuses_bad_input(tower: CLIPTower) -> None:
    images, texts = _inputs(8, 8)
    with pytest.raises(ValueError, match="background_ids is empty; add a background class"):
        MaskCLIP(tower, background=Background(threshold=0.1)).segment(images, texts)
    with pytest.raises(ValueError, match="1 sizes for 2 images"):
        MaskCLIP(tower).segment(images, texts, [(4, 4)])
    with pytest.raises(ValueError, match=r"images hold one of shape \(2, 3, 8, 8\)"):
        MaskCLIP(tower).segment([images], texts)
    with pytest.raises(ValueError, match="embeds have shape .* D = 32"):
        MaskCLIP(tower).segment(images, ClassTexts(texts.embeds[:, :3]))


def test_key_smoothing_needs_a_tower_with_keys(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLIPTower, "has_keys", False)
    with pytest.raises(ValueError, match="key_smoothing=1.0 needs keys"):
        MaskCLIP(tower, refine=Refinement(key_smoothing=1.0))
    MaskCLIP(tower, refine=Refinement(prompt_denoising=0.5))


# --- the official implementation ---


@torch.no_grad()
def test_official_smooths_nothing_with_full_attention(tiny_clip_config: dict[str, Any]) -> None:
    """The release's attention pooling, and its ViT without the value path, have no keys."""
    small = {"layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 64}
    vision = tiny_clip_config["vision_cfg"] | small
    model = open_clip.CLIP(**(tiny_clip_config | {"vision_cfg": vision}))
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)
    images, texts = _inputs(64, 96)
    full = LastBlock(attention="full")

    def scores(refine: Refinement, last_block: LastBlock, official: bool) -> torch.Tensor:
        system = MaskCLIP(
            tower, last_block=last_block, refine=refine, logit_scale=100.0, official=official
        )
        return torch.stack(system.score_pixels(list(images), texts))

    denoised, both = Refinement(0.3), Refinement(0.3, 1.0)
    assert torch.equal(scores(both, full, True), scores(denoised, full, True))
    assert not torch.equal(scores(both, full, False), scores(denoised, full, False))
    value = LastBlock()
    assert not torch.equal(scores(both, value, True), scores(denoised, value, True))


_VIT = (
    "native wide_larger not_multiple_of_patch clip_activation prompt_denoising key_smoothing_all "
    "key_smoothing_some both"
).split()
_RESNET = (
    "native wide not_multiple_of_32 attention_pooling prompt_denoising key_smoothing_some both"
).split()


@pytest.mark.parametrize(
    ("case_name", "subcase_id"),
    [*(("maskclip_vit", name) for name in _VIT), *(("maskclip_resnet", name) for name in _RESNET)],
)
def test_equals_the_official_code(
    parity: Callable[[str], Any], case_name: str, subcase_id: str
) -> None:
    case = parity(case_name)
    subcase = case.subcases[subcase_id]
    args = subcase.args
    system = MaskCLIP(
        _official_tower(case, args),
        last_block=LastBlock(attention="full" if args.get("attn_pooling") else "value"),
        refine=Refinement(args.get("pd_thresh"), args.get("ks_thresh")),
        logit_scale=100.0,
        official=True,
    )
    images = subcase.inputs["image"].float()
    texts = ClassTexts(case.weights["text_embeddings"])
    subcase.check("similarity", system(images, texts.embeds))
    stride = args["seg_logits_stride"]
    subcase.check("seg_logits", system.score_pixels(images, texts)[..., ::stride, ::stride])
    labels = system.segment(images, texts, tuple(args["ori_shape"]))
    subcase.check("labels", labels.to(torch.uint8))


def _official_tower(case: Any, args: dict[str, Any]) -> CLIPTower:
    construct = case.construct
    vision: dict[str, Any] = {"image_size": construct["image_resolution"]}
    if construct["vit"]:
        vision |= {
            "patch_size": construct["patch_size"],
            "width": construct["width"],
            "layers": construct["layers"],
            "head_width": construct["width"] // construct["heads"],
        }
    else:
        # open_clip makes width * 32 / head_width heads.
        vision |= {
            "width": construct["width"],
            "layers": construct["blocks"],
            "head_width": construct["width"] * 32 // construct["heads"],
        }
    model = open_clip.CLIP(
        embed_dim=construct["embed_dim"],
        vision_cfg=vision,
        text_cfg={"width": 32, "heads": 1, "layers": 1},
        quick_gelu="quick" in args.get("activation", "gelu"),
    ).eval()
    weights = {n: t for n, t in case.weights.items() if n.startswith("visual.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert not any(name.startswith("visual.") for name in missing)
    for module in model.visual.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = args["ln_eps"]
    mean, std = args["mean"] / 255, args["std"] / 255
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(mean,) * 3, std=(std,) * 3)


def test_score_pixels_splits_large_images(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images, texts = _inputs(200, 150)
    whole = MaskCLIP(tower).score_pixels(images, texts)
    side = 3 * tower.image_size[0]
    through = MaskCLIP(tower, window=side, stride=side // 2).score_pixels(images, texts)
    needed = tower.dense_bytes((200, 150))
    monkeypatch.setattr(image_passes, "_MOST_BYTES", needed)
    assert torch.equal(MaskCLIP(tower).score_pixels(images, texts), whole)
    assert not caplog.records
    monkeypatch.setattr(image_passes, "_MOST_BYTES", needed - 1)
    image_passes._warn_of_windows.cache_clear()
    result = MaskCLIP(tower).score_pixels(images, texts)
    torch.testing.assert_close(result, through, rtol=0, atol=1e-5)
    assert not torch.allclose(result, whole, rtol=0, atol=1e-5)
    assert len(caplog.records) == 1  # once for both images
    assert f"150 x 200 pixels are split into windows of {side} x {side}" in caplog.text


def test_dense_bytes_of_12_megapixels() -> None:
    """The shipped CLIP has 4 heads and patches of 12 pixels: 83501 squared, 4 heads, 4 bytes."""
    config = {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 96,
            "patch_size": 12,
            "layers": 1,
            "width": 128,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 49408,
            "width": 8,
            "heads": 1,
            "layers": 1,
        },
    }
    model = open_clip.CLIP(**config).eval()
    large = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert large.dense_bytes((3000, 4000)) == 4 * 4 * 83501**2
    boxes, at_once = image_passes.plan_passes(large, (3000, 4000), None, None, 1)
    assert {(bottom - top, right - left) for left, top, right, bottom in boxes} == {(288, 288)}
    assert at_once == 8
    assert len(image_passes.plan_passes(large, (1500, 1500), None, None, 1)[0]) == 1


def test_score_pixels_refuses_more_than_memory(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_errors, "available_memory", lambda device: 2**33)
    images, texts = _inputs(16, 16, 847)
    model = MaskCLIP(tower)
    with pytest.raises(ImageTooLargeError, match="scores of 847 classes at 4000 x 3000 pixels"):
        model.score_pixels(images[:1], texts, (3000, 4000))
    labels = model.segment(images[:1], texts, (30, 40))
    assert labels.shape == (1, 30, 40)


def test_encode_image_refuses_more_than_memory(
    tower: CLIPTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_errors, "available_memory", lambda device: 10)
    monkeypatch.setattr(image_errors, "_ALWAYS_ALLOWED", 10)
    with torch.no_grad(), pytest.raises(ImageTooLargeError, match="attention weights of 17 patch"):
        tower.encode_image(tower.normalize(_inputs(32, 32)[0]))


class TestIndependent:
    """SigLIP's probabilities: of each word by itself."""

    @pytest.fixture
    def siglip(self, tower: CLIPTower) -> CLIPTower:
        tower.model.logit_bias = nn.Parameter(torch.tensor([-2.0]))
        return tower

    def test_probabilities_are_sigmoids_with_the_bias(self, siglip: CLIPTower) -> None:
        images, texts = _inputs(32, 48)
        plain = MaskCLIP(siglip, logit_scale=7.0).score_pixels(images, texts)
        probs = MaskCLIP(siglip, logit_scale=7.0, independent=True).score_pixels(images, texts)
        for cosine, prob in zip(plain.flatten().tolist(), probs.flatten().tolist(), strict=True):
            assert prob == pytest.approx(1 / (1 + math.exp(2 - 7 * cosine)), abs=1e-5)

    def test_more_words_do_not_change_a_probability(self, siglip: CLIPTower) -> None:
        images, texts = _inputs(32, 32)
        system = MaskCLIP(siglip, independent=True)
        for scores in (system.score_pixels, lambda i, t: system.heat_maps(i[:1], t)):
            few = scores(images, ClassTexts(texts.embeds[:2]))
            torch.testing.assert_close(few, scores(images, texts)[..., :2, :, :])

    def test_pixels_that_no_word_fits_are_background(self, siglip: CLIPTower) -> None:
        images, texts = _inputs(32, 32)
        texts = replace(texts, background_ids=(4,))
        system = MaskCLIP(siglip, logit_scale=7.0, independent=True)
        best = system.score_pixels(images, texts)[0].amax(dim=0)
        threshold = float(best.median())
        system.background = Background(threshold=threshold)
        labels = system.segment(images, texts)[0]
        assert (labels[best < threshold] == 4).all()
        assert (labels != 4).any()

    def test_refusals(self, siglip: CLIPTower) -> None:
        with pytest.raises(ValueError, match="key_smoothing=1.0 makes scores of words that comp"):
            MaskCLIP(siglip, independent=True, refine=Refinement(key_smoothing=1.0))
        siglip.model.logit_bias = None
        with pytest.raises(ValueError, match="need the logit_bias .* MODEL.MASKCLIP.INDEPENDENT"):
            MaskCLIP(siglip, independent=True)
