"""Last blocks that compare other features: the official codes' numbers, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

from ovseg_d2.clip import Affinity, Calibration, LastBlock
from ovseg_d2.clip.vit import vit_dense, vit_stages
from ovseg_d2.ops import mix_by_affinity

# Outputs of the official codes on the weights and inputs below: open_clip/transformer.py of
# github.com/mc-lan/ProxyCLIP (e7b767f) and clip/model.py of github.com/SuleBai/SC-CLIP (0417ba9).
OFFICIAL = np.load(Path(__file__).parents[1] / "data" / "official_affinity.npz")
PROXYCLIP = LastBlock(residual="none", mlp=False, attention="affinity")
SCCLIP = LastBlock(residual="none", mlp=False, attention="self_calibrated")


def seeded_vit(layers: int, seed: int = 0) -> VisionTransformer:
    """A ViT whose weights are drawn in the order of their names, as for the official numbers."""
    visual = VisionTransformer(32, 4, 16, layers, 2, 4.0, output_dim=8, act_layer=QuickGELU)
    draws, state = np.random.RandomState(seed), visual.state_dict()
    for name in sorted(state):
        shape = tuple(state[name].shape)
        value = draws.standard_normal(shape)
        if "ln_" in name and name.endswith("weight"):
            value = 1 + 0.2 * value
        elif value.ndim > 1:
            value /= np.sqrt(np.prod(shape[1:]) if name == "conv1.weight" else shape[-1])
        else:
            value *= 0.3
        state[name] = torch.from_numpy(value.astype(np.float32))
    visual.load_state_dict(state)
    return visual.eval().requires_grad_(False)


def seeded(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("size", [32, 36])  # native, and one that needs other positions
def test_scclip_equals_the_official_code(size):
    feats = vit_dense(seeded_vit(12), seeded(1, 1, 3, size, size), SCCLIP, official=True)[0]
    torch.testing.assert_close(
        feats, torch.from_numpy(OFFICIAL[f"scclip_{size}"]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("size", [32, 36])
def test_proxyclip_equals_the_official_code(size):
    guide = seeded(2, 1, 5, 12, 12) + 0.5
    images = seeded(1, 1, 3, size, size)
    feats = vit_dense(seeded_vit(3), images, PROXYCLIP, official=True, guide=guide)[0]
    expected = torch.from_numpy(OFFICIAL[f"proxyclip_{size}"])
    torch.testing.assert_close(feats, expected, atol=1e-4, rtol=0)


def test_scclip_options_take_each_part_away():
    visual, images = seeded_vit(12), seeded(1, 2, 3, 28, 36)
    whole = vit_dense(visual, images, SCCLIP)
    assert whole.shape == (2, 8, 7, 9)
    for options in (
        {"outlier_share": 0.0},
        {"mixing_block": 0},
        {"first_level": 0},
        {"class_share": 0.0},
        {"affinity_block": 5},
        {"threshold": 0.9},
        {"last_level": 5},
        {"outlier_neighbours": 3},
    ):
        block = LastBlock(
            residual="none",
            mlp=False,
            attention="self_calibrated",
            calibration=Calibration(**options),
        )
        assert not torch.allclose(vit_dense(visual, images, block), whole, atol=1e-4), options


def test_images_of_a_batch_do_not_change_each_other():
    visual, images = seeded_vit(12), seeded(1, 2, 3, 28, 36)
    for block in (SCCLIP, LastBlock(attention="affinity", affinity=Affinity(block=9))):
        alone = torch.cat([vit_dense(visual, image[None], block) for image in images])
        torch.testing.assert_close(vit_dense(visual, images, block), alone, atol=1e-5, rtol=1e-4)


def test_affinity_of_a_block_equals_its_output_as_guide():
    visual, images = seeded_vit(3), seeded(1, 2, 3, 24, 32)
    output = []
    hook = visual.transformer.resblocks[0].register_forward_hook(
        lambda _, __, tokens: output.append(tokens[:, 1:])
    )
    vit_dense(visual, images)
    hook.remove()
    guide = output[0].transpose(1, 2).unflatten(2, (6, 8))
    by_block = LastBlock(attention="affinity", affinity=Affinity(1.1, 7.0, block=1))
    by_guide = LastBlock(attention="affinity", affinity=Affinity(1.1, 7.0))
    feats = vit_dense(visual, images, by_block)
    torch.testing.assert_close(feats, vit_dense(visual, images, by_guide, guide=guide))
    stages, dense = vit_stages(visual, images, by_block)
    torch.testing.assert_close(dense, feats)
    assert stages[0].shape == (2, 16, 6, 8)


def test_affinity_of_equal_cells_is_the_mean_of_the_value_path():
    visual, images = seeded_vit(3), seeded(1, 1, 3, 24, 32)
    block = LastBlock(residual="none", mlp=False, attention="affinity")
    feats = vit_dense(visual, images, block, guide=torch.ones(1, 4, 6, 8) * 0.5)
    # All cosines are 1, below 1.2 times their mean: each location keeps itself.
    alone = vit_dense(visual, images, LastBlock(residual="none", mlp=False))
    torch.testing.assert_close(feats, alone)
    lower = LastBlock(
        residual="none", mlp=False, attention="affinity", affinity=Affinity(mean_weight=1.0 - 1e-3)
    )
    feats = vit_dense(visual, images, lower, guide=torch.ones(1, 4, 6, 8) * 0.5)
    assert torch.allclose(feats, feats[..., :1, :1].expand_as(feats), atol=1e-5)


def test_affinity_carries_gradients():
    visual, images = seeded_vit(3).requires_grad_(True), seeded(1, 1, 3, 24, 32)
    block = LastBlock(attention="affinity", affinity=Affinity(block=2))
    vit_dense(visual, images, block).square().sum().backward()
    assert visual.conv1.weight.grad.isfinite().all() and visual.conv1.weight.grad.any()


def test_half_precision_affinity_is_near_full_precision():
    feats, values = seeded(1, 1, 40, 6), seeded(2, 1, 40, 5)
    half = mix_by_affinity(feats.bfloat16(), values.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(
        half.float(), mix_by_affinity(feats.bfloat16().float(), values), atol=0.05, rtol=0.05
    )


@pytest.mark.parametrize(
    ("block", "guide", "message"),
    [
        (PROXYCLIP, None, "guide is None; use MaskCLIP with"),
        (PROXYCLIP, torch.zeros(2, 4, 3, 3), r"shape \(2, 4, 3, 3\); give \(1, C, h, w\)"),
        (SCCLIP, None, "reads the output of block 10, and this tower has 2 before its last"),
        (
            LastBlock(attention="affinity", affinity=Affinity(block=3)),
            None,
            "reads the output of block 3, and this tower has 2",
        ),
    ],
)
def test_affinity_refuses_a_missing_guide_or_block(block, guide, message):
    with pytest.raises(ValueError, match=message):
        vit_dense(seeded_vit(3), seeded(1, 1, 3, 24, 24), block, guide=guide)


@pytest.mark.parametrize(
    ("build", "values", "message"),
    [
        (Affinity, {"mean_weight": -1.0}, "mean_weight=-1.0"),
        (Affinity, {"scale": 0.0}, "scale=0.0"),
        (Affinity, {"block": -1}, "block=-1"),
        (Calibration, {"affinity_block": 0}, "affinity_block=0"),
        (Calibration, {"mixing_block": -1}, "mixing_block=-1"),
        (Calibration, {"last_level": 3}, "first_level=4, last_level=3"),
        (LastBlock, {"attention": "self_calibrated"}, "has no residual and no MLP"),
    ],
)
def test_options_refuse_impossible_values(build, values, message):
    with pytest.raises(ValueError, match=message):
        build(**values)
