"""`TextFingerprint`: a digest of everything that determines a text embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ovseg_d2.clip import CLIPTower

__all__ = ["TextFingerprint"]

# Values sampled of each tensor, to notice changes without a new version counter.
_SAMPLES = 64
# Attributes that do not change the result of a module.
_NO_SETTINGS = ("training", "grad_checkpointing", "output_dict")
# A text with capitals, digits, punctuation and words of several tokens.
_PROBE = "A photo of 2 Red-Stars, (wall_brick)."


class TextFingerprint:
    """Digest of a tower's text half, recomputed only when its weights have changed.

    It covers every parameter and buffer outside the image tower (name, type, shape, bytes), the
    modules' settings (activation, epsilon) and the tokenizer. The scale and bias of CLIP's logits
    are left out, because they do not affect an embedding.

    Hashing all bytes takes about a second for a large tower, so `current` first compares identity,
    version counter and a sample of each tensor's values, which takes about a millisecond. A write
    through ``.data`` that changes none of the sampled values is missed; optimizers, loading a state
    dict and in-place operations are not.

    Args:
        tower: the tower to watch.
    """

    def __init__(self, tower: CLIPTower) -> None:
        """Compute nothing yet."""
        self._tower = tower
        self._state: tuple[tuple[tuple[object, ...], ...], bytes] | None = None
        self._digest = ""

    @torch.no_grad()
    def current(self) -> str:
        """Return the digest of the tower's current state, 64 hexadecimal digits."""
        tensors = dict(self._text_tensors())
        state = (tuple(_identity(t) for t in tensors.values()), _sample(list(tensors.values())))
        if state != self._state:
            self._digest = self._compute(tensors)
            self._state = state
        return self._digest

    def _text_tensors(self) -> Iterator[tuple[str, Tensor]]:
        model = self._tower.model
        visual = getattr(model, "visual", None)
        skipped = {id(getattr(model, name, None)) for name in ("logit_scale", "logit_bias")}
        if isinstance(visual, nn.Module):
            skipped |= {id(p) for p in visual.parameters()} | {id(b) for b in visual.buffers()}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if id(tensor) not in skipped:
                yield name, tensor

    def _compute(self, tensors: dict[str, Tensor]) -> str:
        digest = hashlib.sha256()
        digest.update(repr((self._tower.context_length, self._settings())).encode())
        digest.update(self._tower.tokenize([_PROBE]).cpu().numpy().tobytes())
        for name, tensor in sorted(tensors.items()):
            digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
            digest.update(
                tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
            )
        return digest.hexdigest()

    def _settings(self) -> list[tuple[str, str, list[tuple[str, object]]]]:
        """Name, type and plain attributes (heads, epsilon, ...) of each text module."""
        model = self._tower.model
        visual = getattr(model, "visual", None)
        skipped = {id(m) for m in visual.modules()} if isinstance(visual, nn.Module) else set()
        return [
            (name, type(module).__name__, _plain_attributes(module))
            for name, module in model.named_modules()
            if id(module) not in skipped
        ]


def _plain_attributes(module: nn.Module) -> list[tuple[str, object]]:
    return sorted(
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str)
        and not name.startswith("_")
        and name not in _NO_SETTINGS
    )


def _identity(tensor: Tensor) -> tuple[object, ...]:
    # Inference tensors have no version; only the sample of values tells.
    version = 0 if tensor.is_inference() else tensor._version
    return id(tensor), tensor.data_ptr(), version, tensor.dtype, tuple(tensor.shape)


def _sample(tensors: list[Tensor]) -> bytes:
    """The bytes of some values of every tensor, copied from the device at once."""
    flats = [tensor.detach().flatten() for tensor in tensors]
    values = [flat[:: max(1, flat.numel() // _SAMPLES)].double() for flat in flats]
    return torch.cat(values).cpu().numpy().tobytes() if values else b""
