"""Reading and writing of CLIP weights in files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ovseg_d2.files import write_atomically
from ovseg_d2.weight_files import WeightFileError, describe_method, read_state_dict

# Entries of OpenAI's state dicts that are not weights; they identify the origin.
_OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")
# Mask prompts in a state dict of CLIP, by their name in the official code of [ovseg]; and beside
# the tower in our training checkpoints.
_MASK_PROMPTS = "visual.mask_embedding"
_BESIDE_TOWER = ("tower.model.", "prompts")
# Ends of prefixes of a CLIP model inside of other modules.
_WRAPPERS = ("model.", "module.", "clip.", "backbone.")


def read_weights(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Read the state dict of an open_clip model from a file.

    The formats are those of `read_weight_file`, with a state dict as in `read_state_dict`, and
    OpenAI's TorchScript archives. Names may have a prefix that ends in `model.`, `module.`, `clip.`
    or `backbone.` (wrappers, and training checkpoints of systems with a tower); weights outside
    the prefix are not the tower's and are left out. No code of a file is executed. Mask prompts
    are left out, see `read_mask_prompts`.

    Args:
        path: the file.

    Returns:
        Weights under open_clip's names, and whether they are in OpenAI's format, hence trained with
        QuickGELU.

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: the file is of another format or damaged, or holds values that are not
            finite, or several towers.
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
    """Read the mask prompts beside a tower's weights.

    Args:
        path: a training checkpoint of `MaskAdaptedCLIP`, a file of `save_weights`, a release of
            [ovseg], or another file of `read_weights`.

    Returns:
        (depth, N, C) for N patches and the tower's width C; None if the file has no prompts.

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: that of `read_weights`.
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
    """Copy weights into a model, all or none, converted to the model's dtypes.

    Args:
        model: the open_clip model; changed in place.
        weights: state dict with open_clip's names.
        source: name of the file, for the error.

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
    clauses = [
        f"{len(keys)} {kind}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    if clauses:
        method = describe_method(weights)
        raise ValueError(
            f"the weights of {source} do not fit the model: {'; '.join(clauses)}. "
            + (f"Their names are those of {method}. " if method else "")
            + "Choose the model name or config that they were trained with."
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
        path: the file; it is written completely or not at all.
        dtype: of the floating-point weights in the file.
        note: how the weights were made, kept in the file's metadata.
        mask_prompts: (depth, N, C), kept beside the weights; open_clip cannot read such a file.

    Raises:
        ValueError: a weight overflows ``dtype``.
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
    """Find the prefix of the names of the one CLIP model in a state dict."""
    anchor = "logit_scale"  # at the top of every CLIP model
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
            "save the wanted one in a file of its own",
        )
    return prefixes.pop() if prefixes else ""
