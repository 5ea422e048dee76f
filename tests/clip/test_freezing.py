"""Policies: exactly the named weights, all of them read by dense features."""

import pytest
import torch
from torch import nn

from ovseg_d2.clip import LastBlock, set_trainable

from .timm_towers import TRUNKS, build_timm_visual

# Parameters left trainable of the tiny towers, by hand. ViT: 4 of each of 2 blocks' attentions and
# the positions. ResNet: 2 of each of the pooling's two layers.
COUNTS = {
    ("vit", "attention"): 2 * 4 + 1,
    ("vit", "conv"): 1,
    ("resnet", "attention"): 4,
    ("vit", "none"): 0,
    ("resnet", "none"): 0,
    ("convnext", "none"): 0,
}


@pytest.mark.parametrize(("kind", "policy"), COUNTS)
def test_set_trainable_counts(build_tower, vision_kinds, kind, policy):
    tower = build_tower(vision=vision_kinds[kind])
    names = set_trainable(tower, policy)
    assert len(names) == COUNTS[kind, policy]
    trainable = {name for name, value in tower.named_parameters() if value.requires_grad}
    assert trainable == set(names)
    assert len(names) == len(trainable)
    assert all(name.startswith("model.visual.") for name in names)


def test_full_policy_is_the_whole_image_half(build_tower, vision_kinds):
    for kind in ("vit", "convnext"):
        tower = build_tower(vision=vision_kinds[kind])
        assert len(set_trainable(tower, "full")) == len(list(tower.model.visual.parameters()))
    tower = build_tower(vision=vision_kinds["resnet"])
    names = set_trainable(tower, "full")
    # Weight and bias of the pooling's queries and keys, and its positions.
    assert len(names) == len(list(tower.model.visual.parameters())) - 5


@pytest.mark.parametrize("kind", [*TRUNKS, "FastViT"])
@pytest.mark.parametrize("policy", ["attention", "conv", "full"])
def test_policies_of_timm_name_weights_that_dense_features_read(build_tower, kind, policy):
    tower = build_tower()
    tower.model.visual = build_timm_visual(kind)
    names = set_trainable(tower, policy)
    tower.dense_feats(torch.randn(1, 3, 64, 64), LastBlock(attention="value")).sum().backward()
    values = dict(tower.named_parameters())
    assert names == [name for name, value in values.items() if value.grad is not None]
    parts = {
        "attention": ("pos_embed", ".attn.", ".token_mixer."),
        "conv": ("patch_embed", "conv"),
        "full": ("",),
    }
    assert all(any(part in name for part in parts[policy]) for name in names)
    if policy == "full":
        frozen = set(values) - set(names)
        frozen = {name.split(".")[-2] for name in frozen if ".visual." in name}
        assert frozen == ({"attn_pool", "q"} if kind in ("SigLIP", "PE-Core") else set())


def test_conv_policy_is_convolutions(build_tower, vision_kinds):
    resnet = build_tower(vision=vision_kinds["resnet"])
    convs = [m for m in resnet.model.visual.modules() if isinstance(m, nn.Conv2d)]
    assert len(set_trainable(resnet, "conv")) == len(convs)
    convnext = build_tower(vision=vision_kinds["convnext"])
    names = set_trainable(convnext, "conv")
    blocks = sum(len(stage.blocks) for stage in convnext.model.visual.trunk.stages)
    assert len(names) == 2 * blocks
    assert all(".conv_dw." in name for name in names)


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        *(("vit", policy) for policy in ("attention", "conv", "full")),
        *(("resnet", policy) for policy in ("attention", "conv", "full")),
        *(("convnext", policy) for policy in ("conv", "full")),
    ],
)
def test_dense_features_read_every_trainable_weight(build_tower, vision_kinds, kind, policy):
    tower = build_tower(vision=vision_kinds[kind])
    names = set_trainable(tower, policy)
    last_block = LastBlock(residual="class_token") if kind == "vit" else LastBlock()
    tower.dense_feats(torch.randn(2, 3, 64, 64), last_block).square().sum().backward()
    parameters = dict(tower.named_parameters())
    assert [n for n in names if parameters[n].grad is None or not parameters[n].grad.any()] == []
    assert all(p.grad is None for n, p in parameters.items() if n not in names)


def test_set_trainable_replaces_the_policy_before(tower):
    set_trainable(tower, "full")
    names = set_trainable(tower, "conv")
    assert names == ["model.visual.conv1.weight"]
    assert [n for n, p in tower.named_parameters() if p.requires_grad] == names


def test_set_trainable_refuses_bad_policies(tower, build_tower, vision_kinds):
    with pytest.raises(ValueError, match="policy 'attn' is not one of"):
        set_trainable(tower, "attn")
    with pytest.raises(
        ValueError, match="names no weights of this image tower, a TimmModel; choose"
    ):
        set_trainable(build_tower(vision=vision_kinds["convnext"]), "attention")
