"""Weights of CLIP models on disk: one way to read them all, one error when they do not fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ovseg_d2.files import write_atomically
from ovseg_d2.weight_files import WeightFileError, describe_method, read_state_dict

# Entries of OpenAI's own state dicts that are not weights; their presence tells the origin.
_OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")
# Mask prompts in a state dict of CLIP, as the official code of [ovseg] calls them; and beside the
# tower in our training checkpoints.
_MASK_PROMPTS = "visual.mask_embedding"
_BESIDE_TOWER = ("tower.model.", "prompts")
# Ends of what stands before the names of a CLIP model that is a part of another module.
_WRAPPERS = ("model.", "module.", "clip.", "backbone.")


def read_weights(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Read the state dict of an open_clip model from a file.

    Known are the formats of `read_weight_file`, with a state dict as `read_state_dict` finds it.
    Its names may carry a prefix that ends in `model.`, `module.`, `clip.` or `backbone.` (wrappers,
    and the training checkpoints of systems that own a tower; what lies outside the prefix is not
    the tower's and is left out). OpenAI's TorchScript archives are known too. Nothing in a file is
    executed. Mask prompts are left out too: `read_mask_prompts` gives them.

    Args:
        path: the file.

    Returns:
        Names as in open_clip, and whether the weights are in OpenAI's own format, hence trained
        with QuickGELU.

    Raises:
        FileNotFoundError: there is no such file.
        WeightFileError: the file is none of the above, damaged, holds values that are not finite,
            or several towers.
    """
    content = read_state_dict(path)
    prefix = _find_prefix(content, path)
    weights = {
        key.removeprefix(prefix): value
        for key, value in content.items()
        if key.startswith(prefix) and isinstance(value, Tensor)
    }
    weights.pop(_MASK_PROMPTS, None)
    is_openai = all(key in content for key in _OPENAI_ENTRIES)
    return {k: v for k, v in weights.items() if k not in _OPENAI_ENTRIES}, is_openai


def read_mask_prompts(path: Path) -> Tensor | None:
    """Read the mask prompts that a file holds beside a tower's weights.

    Known are the training checkpoints of `MaskAdaptedCLIP`, what `save_weights` has made of one,
    and the releases of [ovseg].

    Args:
        path: of a kind that `read_weights` reads.

    Returns:
        (depth, N, C) for N patches and the tower's width C; None where there are none.

    Raises:
        FileNotFoundError: there is no such file.
        WeightFileError: as for `read_weights`.
    """
    content = read_state_dict(path)
    prefix = _find_prefix(content, path)
    tower, prompts = _BESIDE_TOWER
    names = [prefix + _MASK_PROMPTS]
    if prefix.endswith(tower):
        names.append(prefix.removesuffix(tower) + prompts)
    for value in (content.get(name) for name in names):
        if isinstance(value, Tensor):
            return value
    return None


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copy weights into a model, all of them or none; types are converted to the model's.

    Args:
        model: the open_clip model; changed in place.
        weights: its state dict, names as in open_clip.
        source: where they come from, for the error.

    Raises:
        ValueError: names or shapes differ; lists up to five of each kind.
    """
    weights = dict(weights)
    own = model.state_dict()
    scale = weights.get("logit_scale")
    if scale is not None and scale.numel() == 1:  # stored as a scalar or as a vector of one
        weights["logit_scale"] = scale.reshape(own["logit_scale"].shape)
    shared = own.keys() & weights.keys()
    problems = {
        "missing": sorted(own.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - own.keys()),
        "of another shape": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(shared)
            if weights[key].shape != own[key].shape
        ],
    }
    found = [
        f"{len(keys)} {kind}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        method = describe_method(weights)
        raise ValueError(
            f"the weights of {source} do not fit the model: {'; '.join(found)}. "
            + (f"By their names they are of {method}. " if method else "")
            + "Choose the model name or config they were trained with."
        )
    model.load_state_dict(weights)


def save_weights(
    model: nn.Module,
    path: Path,
    *,
    dtype: torch.dtype = torch.float16,
    note: str = "",
    mask_prompts: Tensor | None = None,
) -> None:
    """Write a model's weights as a safetensors file that `read_weights` and open_clip read.

    Args:
        model: the open_clip model.
        path: the file; it appears whole or not at all.
        dtype: of the floating-point weights in the file.
        note: kept in the file's metadata: how the weights came about.
        mask_prompts: (depth, N, C), kept beside the weights; open_clip does not read such a file.

    Raises:
        ValueError: a weight that the type cannot hold (it would become infinite).
        WriteError: the file cannot be written.
    """
    weights = {}
    state = model.state_dict()
    if mask_prompts is not None:
        state[_MASK_PROMPTS] = mask_prompts
    for name, value in state.items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(dtype)
            if not torch.isfinite(stored).all():
                raise ValueError(f"weight {name} does not fit {dtype}; choose another dtype")
        weights[name] = stored.contiguous()
    with write_atomically(path) as file:
        file.write(save(weights, metadata={"note": note} if note else None))


def _find_prefix(content: Mapping[str, object], path: Path) -> str:
    """What stands before the names of the one CLIP model in a state dict."""
    anchor = "logit_scale"  # every CLIP model has it at its top
    weights = [key for key, value in content.items() if isinstance(value, Tensor)]
    prefixes = {
        key.removesuffix(anchor)
        for key in weights
        if (key == anchor or key.removesuffix(anchor).endswith(_WRAPPERS))
        and any(other.startswith(key.removesuffix(anchor) + "visual.") for other in weights)
    }
    if len(prefixes) > 1:
        raise WeightFileError(
            str(path),
            f"it holds several CLIP models, under {sorted(prefixes)}",
            "save the one that is wanted on its own",
        )
    return prefixes.pop() if prefixes else ""
