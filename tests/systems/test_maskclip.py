"""MaskCLIP: cosines on the grid, labels at pixels, and the official implementation's numbers."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.ops import upsample_scores
from ovseg_d2.systems import MaskCLIP


@pytest.fixture
def tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    """Give a random two-layer tower with patch 8."""
    model = open_clip.CLIP(**tiny_clip_config).eval()
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)


def _inputs(height: int, width: int, num_classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (2, 3, height, width)).float()
    return images, F.normalize(torch.randn(num_classes, 32), dim=-1)


def test_scores_are_the_cosines_of_dense_features(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(32, 48)
    scores = MaskCLIP(tower)(images, text_embeds)
    feats = tower.dense_feats(tower.normalize(images), LastBlock())
    expected = torch.zeros(2, 5, 4, 6)
    for b in range(2):
        for k in range(5):
            for y in range(4):
                for x in range(6):
                    expected[b, k, y, x] = F.cosine_similarity(
                        feats[b, :, y, x], text_embeds[k], dim=0
                    )
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert scores.abs().max() <= 1 + 1e-6


def test_the_last_block_is_a_choice(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(32, 32)
    plain = MaskCLIP(tower)(images, text_embeds)
    bare = MaskCLIP(tower, last_block=LastBlock(residual="none", mlp=False))(images, text_embeds)
    assert (plain - bare).abs().max() > 1e-3


def test_gradients_reach_images_text_and_image_tower_only(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(16, 16)
    images.requires_grad_()
    text_embeds.requires_grad_()
    MaskCLIP(tower)(images, text_embeds).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert text_embeds.grad is not None
    assert tower.model.visual.conv1.weight.grad.abs().sum() > 0
    assert tower.model.text_projection.grad is None


@pytest.mark.parametrize("image_size", [(32, 32), (37, 50), (5, 70)])
@pytest.mark.parametrize("size", [None, (61, 40)])
def test_segment_is_the_argmax_over_the_padded_grid(
    tower: CLIPTower, image_size: tuple[int, int], size: tuple[int, int] | None
) -> None:
    images, text_embeds = _inputs(*image_size)
    system = MaskCLIP(tower)
    labels = system.segment(images, text_embeds, size)
    scores = system(images, text_embeds).detach()
    padded = (-(-image_size[0] // 8) * 8, -(-image_size[1] // 8) * 8)
    expected = upsample_scores(scores, padded, image_size, size)
    assert labels.dtype == torch.long
    assert labels.shape == (2, *(size or image_size))
    # Rounding may decide pixels where two classes all but tie.
    top = expected.topk(2, dim=1).values
    clear = (top[:, 0] - top[:, 1]) > 1e-5
    assert clear.float().mean() > 0.95
    assert torch.equal(labels[clear], expected.argmax(dim=1)[clear])


def test_two_images_are_segmented_as_each_alone(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(24, 40)
    system = MaskCLIP(tower)
    together = system(images, text_embeds)
    alone = torch.cat([system(images[i : i + 1], text_embeds) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_segment_evaluates_and_leaves_every_mode_as_it_was(tower: CLIPTower) -> None:
    seen = []
    tower.model.visual.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    norm = tower.model.visual.ln_post
    norm.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    system = MaskCLIP(tower).train()
    norm.eval()
    images, text_embeds = _inputs(16, 16)
    labels = system.segment(images, text_embeds)
    assert seen
    assert not any(seen)
    assert not labels.requires_grad
    assert system.training
    assert tower.training
    assert not norm.training


def test_half_precision_text_does_not_lower_the_scores(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(16, 16)
    assert MaskCLIP(tower)(images, text_embeds.bfloat16()).dtype == torch.float32


def test_one_class_and_integer_images(tower: CLIPTower) -> None:
    images, text_embeds = _inputs(16, 16, num_classes=1)
    labels = MaskCLIP(tower).segment(images.to(torch.uint8), text_embeds)
    assert torch.equal(labels, torch.zeros(2, 16, 16, dtype=torch.long))


@pytest.mark.parametrize("shape", [(5, 16), (32,), (1, 5, 32)])
def test_refuses_text_of_another_tower(tower: CLIPTower, shape: tuple[int, ...]) -> None:
    images, _ = _inputs(16, 16)
    with pytest.raises(ValueError, match="text_embeds have shape .* D = 32"):
        MaskCLIP(tower)(images, torch.ones(shape))


def test_state_dict_is_the_towers(tower: CLIPTower) -> None:
    expected = {f"tower.{name}" for name in tower.state_dict()}
    assert set(MaskCLIP(tower).state_dict()) == expected


@pytest.mark.parametrize(
    "subcase_id", ["native", "wide_larger", "not_multiple_of_patch", "clip_activation"]
)
def test_equals_the_official_implementation(parity: Callable[[str], Any], subcase_id: str) -> None:
    case = parity("maskclip_vit")
    subcase, construct = case.subcases[subcase_id], case.construct
    model = open_clip.CLIP(
        embed_dim=construct["embed_dim"],
        vision_cfg={
            "image_size": construct["image_resolution"],
            "patch_size": construct["patch_size"],
            "width": construct["width"],
            "layers": construct["layers"],
            "head_width": construct["width"] // construct["heads"],
        },
        text_cfg={"width": 32, "heads": 1, "layers": 1},
        quick_gelu="quick" in subcase.args["activation"],
    ).eval()
    weights = {n: t for n, t in case.weights.items() if n.startswith("visual.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert not any(name.startswith("visual.") for name in missing)
    for module in model.visual.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = subcase.args["ln_eps"]
    mean, std = subcase.args["mean"] / 255, subcase.args["std"] / 255
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(mean,) * 3, std=(std,) * 3)

    system = MaskCLIP(tower)
    images = subcase.inputs["image"].float()
    text_embeds = case.weights["text_embeddings"]
    subcase.check("similarity", system(images, text_embeds))
    if subcase_id != "not_multiple_of_patch":
        # Where nothing was padded the two geometries agree, and so must the labels.
        labels = system.segment(images, text_embeds, tuple(subcase.args["ori_shape"]))
        subcase.check("labels", labels.to(torch.uint8))
