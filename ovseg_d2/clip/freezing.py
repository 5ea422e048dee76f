"""Policies that name the weights of a tower to train on dense features."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from .tower import CLIPTower

TrainPolicy = Literal["attention", "conv", "full", "none"]

Names = Iterator[str]


def set_trainable(tower: CLIPTower, policy: TrainPolicy) -> list[str]:
    """Freeze a tower except the weights of its image half that a policy names.

    ===========  ================================  ==========================  ==================
    policy       ViT                               ResNet                      ConvNeXt
    ===========  ================================  ==========================  ==================
    attention    attention of all blocks, and the  values and projection of    (has none)
                 position embedding                the attention pooling
    conv         the patch embedding               all convolutions            the depthwise ones
    full         everything                        all but the pooling's       everything
                                                   queries, keys, positions
    none         nothing                           nothing                     nothing
    ===========  ================================  ==========================  ==================

    Queries, keys and positions of a ResNet's pooling do not enter dense features: they would never
    get a gradient, which is an error in `DistributedDataParallel`.

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


def _convnext(visual: TimmModel, policy: TrainPolicy) -> Names:
    if policy == "conv":
        yield from _convs(visual, lambda conv: conv.groups == conv.in_channels > 1)
    elif policy == "full":
        yield from _below(visual, "")


_CHOICES: dict[type[nn.Module], Callable[[Any, TrainPolicy], Names]] = {
    VisionTransformer: _vit,
    ModifiedResNet: _resnet,
    TimmModel: _convnext,
}


def _below(module: nn.Module, prefix: str) -> Names:
    return (name for name, _ in module.named_parameters(prefix))


def _convs(visual: nn.Module, wanted: Callable[[nn.Conv2d], bool]) -> Names:
    for name, module in visual.named_modules():
        if isinstance(module, nn.Conv2d) and wanted(module):
            yield from _below(module, name)
