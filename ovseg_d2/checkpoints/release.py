"""What is known about a layout of released weights, and the result of a conversion."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "TRAINING_ENTRY",
    "Converted",
    "Part",
    "Release",
    "below",
]

# Of RGB in [0, 1]; OpenAI's CLIP repository, clip/clip.py.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

# Beside "model" in a checkpoint: activation and pixel statistics of its CLIP.
TRAINING_ENTRY = "clip_training"

# A whole model (all except its CLIP), both halves of a CLIP, the image half alone, a backbone,
# stored text embeddings.
Part = Literal["model", "clip", "clip_image", "backbone", "texts"]


@dataclass(frozen=True)
class Converted:
    """Weights under this project's names; together with ``left_out`` all tensors of the file.

    Attributes:
        weights: by this project's names.
        left_out: reasons by the names of the file.
    """

    weights: dict[str, Tensor]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """A layout of released weights, recognised by the names in its state dict.

    Attributes:
        name: word for ``tools/convert_weights.py --release``.
        title: phrase for messages, such as "a release of OVSeg".
        signs: beginnings of names; the layout has a name for each of them.
        holds: the parts in the file.
        place: clause of the config key or command that takes the file.
        convert: renames the weights; the result may share memory with its argument. None if the
            file belongs to a method that this project does not have.
        quick_gelu: activation of the CLIP in the file; None if unknown, or without a CLIP.
        mean: of RGB in [0, 1] for the CLIP in the file; None if unknown.
        std: standard deviation of RGB, see ``mean``.
    """

    name: str
    title: str
    signs: tuple[str, ...]
    holds: frozenset[Part]
    place: str
    convert: Callable[[Mapping[str, Tensor]], Converted] | None
    quick_gelu: bool | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    @property
    def whole(self) -> bool:
        """Whether the file holds a model for ``MODEL.WEIGHTS``, or the start of one."""
        return self.convert is not None and not self.holds.isdisjoint(("model", "backbone"))

    def training_entry(self) -> dict[str, dict[str, Any]]:
        """Return the entry of a checkpoint about its CLIP's training; {} if nothing is known."""
        facts = {"quick_gelu": self.quick_gelu, "mean": self.mean, "std": self.std}
        return {TRAINING_ENTRY: facts} if self.quick_gelu is not None else {}

    def fits(self, names: Collection[str]) -> bool:
        """Whether names have all signs of the layout."""
        return all(any(name.startswith(sign) for name in names) for sign in self.signs)


def below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
