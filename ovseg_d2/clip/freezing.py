"""Policies that name the weights of a tower to train on dense features."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.fastvit import Attention
from torch import nn

from .tower import CLIPTower

TrainPolicy = Literal["attention", "conv", "full", "none"]

Names = Iterator[str]


def set_trainable(tower: CLIPTower, policy: TrainPolicy) -> list[str]:
    """Freeze a tower except the weights of its image half that a policy names.

    ===========  ================================  ==========================  ==================
    policy       ViT                               ResNet                      ConvNeXt, FastViT
    ===========  ================================  ==========================  ==================
    attention    attention of all blocks, and the  values and projection of    attention, if there
                 position embedding                the attention pooling       is any
    conv         the patch embedding               all convolutions            the depthwise ones
    full         everything but the queries of an  all but the pooling's       everything
                 attention pooling                 queries, keys, positions
    none         nothing                           nothing                     nothing
    ===========  ================================  ==========================  ==================

    A ViT is open_clip's or timm's; the position embedding is the learnt one, if it has any, and the
    patch embedding may be several convolutions. Queries, keys and positions of a pooling do not
    enter dense features: they would never get a gradient, which is an error in
    `DistributedDataParallel`.

    Source: the official code of [pixelclip], which trains a ViT with "attention" and a ConvNeXt
    with "full". Its policies "prompt" and "none" both freeze the image half: "none" here.

    Args:
        tower: the gradient flags of all its parameters are set; the text half is frozen.
        policy: one of the names.

    Returns:
        Names of the trainable parameters, in the order of ``tower.named_parameters()``.

    Raises:
        ValueError: an unknown policy, or one without weights in this kind of tower.
    """
    if policy not in get_args(TrainPolicy):
        raise ValueError(f"policy {policy!r} is not one of {get_args(TrainPolicy)}")
    tower.requires_grad_(False)
    if policy == "none":
        return []
    visual = tower.model.visual
    choose = next(of for kind, of in _CHOICES.items() if isinstance(visual, kind))
    chosen = set(choose(visual, policy))
    if not chosen:
        raise ValueError(
            f"policy {policy!r} names no weights of this image tower, a {type(visual).__name__}; "
            "choose 'full' or 'conv'"
        )
    parameters = dict(visual.named_parameters())
    for name in chosen:
        parameters[name].requires_grad_(True)
    return [name for name, value in tower.named_parameters() if value.requires_grad]


def _vit(visual: VisionTransformer, policy: TrainPolicy) -> Names:
    if policy == "attention":
        yield "positional_embedding"
        for index, block in enumerate(visual.transformer.resblocks):
            yield from _below(block.attn, f"transformer.resblocks.{index}.attn")
    elif policy == "conv":
        yield from _below(visual.conv1, "conv1")
    else:
        yield from _below(visual, "")


def _resnet(visual: ModifiedResNet, policy: TrainPolicy) -> Names:
    if policy == "attention":
        yield from _below(visual.attnpool.v_proj, "attnpool.v_proj")
        yield from _below(visual.attnpool.c_proj, "attnpool.c_proj")
    elif policy == "conv":
        yield from _convs(visual, lambda conv: True)
    else:
        unused = ("attnpool.q_proj.", "attnpool.k_proj.", "attnpool.positional_embedding")
        yield from (name for name in _below(visual, "") if not name.startswith(unused))


def _timm(visual: TimmModel, policy: TrainPolicy) -> Names:
    yield from (_timm_vit if hasattr(visual.trunk, "patch_embed") else _convnext)(visual, policy)


def _timm_vit(visual: TimmModel, policy: TrainPolicy) -> Names:
    trunk = visual.trunk
    if policy == "attention":
        if trunk.pos_embed is not None:
            yield "trunk.pos_embed"
        for index, block in enumerate(trunk.blocks):
            yield from _below(block.attn, f"trunk.blocks.{index}.attn")
    elif policy == "conv":
        yield from _below(trunk.patch_embed, "trunk.patch_embed")
    else:
        unused = tuple(f"trunk.attn_pool.{part}" for part in ("latent", "q.", "q_norm.", "k_norm."))
        yield from (name for name in _below(visual, "") if not name.startswith(unused))


def _convnext(visual: TimmModel, policy: TrainPolicy) -> Names:
    if policy == "attention":
        for name, module in visual.named_modules():
            if isinstance(module, Attention):
                yield from _below(module, name)
    elif policy == "conv":
        yield from _convs(visual, lambda conv: conv.groups == conv.in_channels > 1)
    elif policy == "full":
        yield from _below(visual, "")


_CHOICES: dict[type[nn.Module], Callable[[Any, TrainPolicy], Names]] = {
    VisionTransformer: _vit,
    ModifiedResNet: _resnet,
    TimmModel: _timm,
}


def _below(module: nn.Module, prefix: str) -> Names:
    return (name for name, _ in module.named_parameters(prefix))


def _convs(visual: nn.Module, wanted: Callable[[nn.Conv2d], bool]) -> Names:
    for name, module in visual.named_modules():
        if isinstance(module, nn.Conv2d) and wanted(module):
            yield from _below(module, name)
