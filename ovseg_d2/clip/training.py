"""How a CLIP was trained, as far as inference depends on it: activation and pixel statistics."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import open_clip
from open_clip.transformer import QuickGELU
from torch import nn

from ovseg_d2.checkpoints import Release

if TYPE_CHECKING:
    from .tower import CLIPTower

__all__ = [
    "OPENAI_TRAINING",
    "Chosen",
    "Training",
    "adopt_training",
    "set_quick_gelu",
    "tag_training",
    "training_of",
    "uses_quick_gelu",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What is known about the training of a CLIP's weights; None is unknown.

    Attributes:
        quick_gelu: the activation x * sigmoid(1.702 x) instead of GELU.
        mean: of RGB in [0, 1].
        std: standard deviation of RGB in [0, 1].
        release: the origin that says so, such as "OpenAI's CLIP"; "" if nothing does.
    """

    quick_gelu: bool | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    release: str = ""

    def or_else(self, other: "Training") -> "Training":
        """Return what is known here, completed by another's values."""
        return Training(
            other.quick_gelu if self.quick_gelu is None else self.quick_gelu,
            self.mean or other.mean,
            self.std or other.std,
            self.release or other.release,
        )


# Also that of all CLIPs that other projects adapted from OpenAI's.
OPENAI_TRAINING = Training(
    True, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, "OpenAI's CLIP"
)


@dataclass(frozen=True)
class Chosen:
    """What the user sets; None leaves the choice to the weights. See `load_clip`."""

    quick_gelu: bool | Literal["text"] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None


def training_of(release: Release) -> Training:
    """Return what a release of another project says about the training of its CLIP."""
    return Training(release.quick_gelu, release.mean, release.std, release.title)


def tag_training(model: str, tag: str) -> Training:
    """Return what open_clip's table says about the training of published weights.

    Args:
        model: a model name of open_clip.
        tag: of weights; for another text nothing is known.
    """
    cfg = open_clip.get_pretrained_cfg(model, tag)
    return Training(bool(cfg.get("quick_gelu")), cfg["mean"], cfg["std"]) if cfg else Training()


def uses_quick_gelu(model: nn.Module) -> bool | None:
    """Whether the transformers of an open_clip model, or of a half, have QuickGELU.

    Returns:
        None if some have it and others do not, or if there are none.
    """
    kinds = {
        isinstance(module.gelu, QuickGELU) for module in model.modules() if hasattr(module, "gelu")
    }
    return kinds.pop() if len(kinds) == 1 else None


def set_quick_gelu(
    model: nn.Module, quick_gelu: bool, *, image: bool = True, text: bool = True
) -> None:
    """Give QuickGELU or GELU to the transformers of an open_clip model; others have neither.

    Args:
        model: changed in place.
        quick_gelu: whether the activation is QuickGELU.
        image: whether the image half changes.
        text: whether the text half changes.
    """
    for name, module in model.named_modules():
        activation = getattr(module, "gelu", None)  # of the MLP in a block
        if activation is None or not (image if name.startswith("visual.") else text):
            continue
        if isinstance(activation, QuickGELU) != quick_gelu:
            module.gelu = QuickGELU() if quick_gelu else nn.GELU()


def adopt_training(
    tower: "CLIPTower", training: Training, *, image: bool = True, text: bool = True
) -> None:
    """Give a tower the activation and statistics of weights that it is about to hold.

    What the user has chosen (`load_clip`) stays; a warning says where it contradicts a release.

    Args:
        tower: changed in place.
        training: of the weights.
        image: whether they are those of the image half.
        text: whether they are those of the text half.
    """
    chosen = tower.chosen
    if training.quick_gelu is not None:
        tower.possible_activations = {training.quick_gelu}
    if training.quick_gelu is not None and chosen.quick_gelu is None:
        set_quick_gelu(tower.model, training.quick_gelu, image=image, text=text)
    if image:
        tower.mean = tuple(chosen.mean or training.mean or tower.mean)
        tower.std = tuple(chosen.std or training.std or tower.std)
    if not training.release:
        return
    pairs: dict[str, tuple[object, object]] = {
        "QUICK_GELU": (chosen.quick_gelu, training.quick_gelu),
        "PIXEL_MEAN": (chosen.mean and tuple(chosen.mean), training.mean and tuple(training.mean)),
        "PIXEL_STD": (chosen.std and tuple(chosen.std), training.std and tuple(training.std)),
    }
    for key, (ours, theirs) in pairs.items():
        if ours is not None and theirs is not None and ours != theirs:
            _logger.warning(
                "MODEL.CLIP.%s is set to %s, which is used, but %s was trained with %s",
                *(key, ours, training.release, theirs),
            )
