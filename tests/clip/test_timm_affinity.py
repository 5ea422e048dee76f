"""The attention "affinity" on timm's ViTs."""

import pytest
import torch
from torch import nn

from ovseg_d2.clip import Affinity, LastBlock
from ovseg_d2.clip.timm_vit import timm_vit_dense, timm_vit_stages
from ovseg_d2.ops import mix_by_affinity

from .timm_towers import TRUNKS, build_timm_visual

BARE = {"residual": "none", "mlp": False}


@pytest.fixture(params=TRUNKS)
def visual(request):
    return build_timm_visual(request.param).double()


@pytest.fixture
def images():
    return torch.randn(2, 3, 43, 21, dtype=torch.float64)  # a grid of 6 x 3


def test_equal_features_leave_each_location_its_own_value(visual, images):
    guide = torch.ones(2, 4, 6, 3, dtype=torch.float64)  # cosines of 1 are below 1.2 of their mean
    for residual, mlp in (("own", True), ("none", False), ("own", False)):
        feats = timm_vit_dense(visual, images, LastBlock(residual, mlp, "affinity"), guide)
        plain = timm_vit_dense(visual, images, LastBlock(residual, mlp))
        torch.testing.assert_close(feats, plain)


def test_values_mix_by_the_guide_on_its_grid(visual, images):
    guide = torch.randn(2, 4, 12, 6, dtype=torch.float64) + 0.5
    block = visual.trunk.blocks[-1]
    inputs, outputs = [], []
    hooks = [
        block.attn.proj.register_forward_pre_hook(lambda _, args: inputs.append(args[0])),
        block.attn.proj.register_forward_hook(lambda _, __, output: outputs.append(output)),
    ]
    feats = timm_vit_dense(visual, images, LastBlock(attention="affinity", **BARE), guide)
    timm_vit_dense(visual, images, LastBlock(**BARE))  # the value path, one token at a time
    for hook in hooks:
        hook.remove()
    assert feats.shape[2:] == (12, 6)
    if not isinstance(block.attn.norm, nn.Identity):
        return  # a norm stands between values and projection
    values = torch.cat(outputs[1:]).reshape(2, 6, 3, -1).movedim(-1, 1)
    finer = nn.functional.interpolate(values, (12, 6), mode="bilinear").flatten(2).mT
    expected = mix_by_affinity(guide.flatten(2).mT, finer)
    torch.testing.assert_close(outputs[0], expected)


def test_affinity_of_a_block_equals_its_output_as_guide(visual, images):
    seen = []
    hook = visual.trunk.blocks[0].register_forward_hook(lambda _, __, out: seen.append(out))
    by_block = LastBlock(attention="affinity", affinity=Affinity(1.0, 9.0, block=1))
    feats = timm_vit_dense(visual, images, by_block)
    hook.remove()
    guide = seen[0][:, -18:].mT.unflatten(2, (6, 3))
    by_guide = LastBlock(attention="affinity", affinity=Affinity(1.0, 9.0))
    torch.testing.assert_close(feats, timm_vit_dense(visual, images, by_guide, guide))
    stages, dense = timm_vit_stages(visual, images, by_block)
    torch.testing.assert_close(dense, feats)
    assert stages[0].shape[2:] == (6, 3)


def test_missing_guide_or_block_is_refused(visual, images):
    with pytest.raises(ValueError, match="guide is None; use MaskCLIP with"):
        timm_vit_dense(visual, images, LastBlock(attention="affinity"))
    count = len(visual.trunk.blocks)
    late = LastBlock(attention="affinity", affinity=Affinity(block=count))
    with pytest.raises(ValueError, match=f"of block {count}, and this tower has {count - 1} bef"):
        timm_vit_dense(visual, images, late)
