"""Reading and writing of CLIP weights in files."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ovseg_d2.files import write_atomically
from ovseg_d2.weight_files import WeightFileError, describe_method

from .beside import store_training
from .layouts import MASK_PROMPTS, CLIPFile
from .tower import CLIPTower
from .training import Training, adopt_training

_logger = logging.getLogger(__name__)
_SHOWN = 5
_COUNT = "num_batches_tracked"  # inference does not read it
# Of the image half's features into the joint embedding; some files lack them.
_PROJECTIONS = ("visual.proj", "visual.attnpool.", "visual.head.")


def load_file(tower: CLIPTower, file: CLIPFile, *, key: str) -> None:
    """Copy the weights of a file into a tower, and give it the activation and statistics of theirs.

    Args:
        tower: changed in place, or not at all.
        file: with a whole CLIP, or an image half alone; the tower then keeps its text half, and its
            projection into the joint embedding if the file lacks it. Mask prompts are not used.
        key: config key or argument that names the file, for the log.

    Raises:
        WeightFileError: a text half alone, or an image half alone for a tower with random weights.
        ValueError: names or shapes differ; lists up to five of each kind.
    """
    weights, whole, kept = file.weights, file.has_image and file.has_text, []
    if not whole and (file.has_image or file.has_text):
        if not file.has_image or tower.has_random_weights:
            remedy = "set MODEL.CLIP.PRETRAINED to a whole CLIP, whose text half is used"
            raise half_alone(file, remedy)
        own = tower.model.state_dict()
        kept = [k for k in own if k.startswith(_PROJECTIONS) and k not in weights]
        others = [k for k in own if not k.startswith("visual.")]
        weights = {**weights, **{k: own[k] for k in (*others, *kept)}}
    load_weights(tower.model, weights, str(file.path))
    adopt_training(tower, file.training, text=whole)
    _warn_of_unknown_activation(tower, file)
    tower.has_random_weights = False
    _report(file, kept, key)


def half_alone(file: CLIPFile, remedy: str) -> WeightFileError:
    """Return the error about one half of a CLIP in place of a whole one.

    Args:
        file: with that half.
        remedy: if it is an image half.
    """
    if file.has_text:
        return WeightFileError(
            str(file.path), "it holds the text half of a CLIP alone", "give a whole CLIP"
        )
    return WeightFileError(
        str(file.path),
        f"it holds {file.training.release or 'the image half of a CLIP'} alone",
        remedy,
    )


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
    for name in ("logit_scale", "logit_bias"):
        value = weights.get(name)
        # Stored as a scalar or as a vector of one.
        if value is not None and value.numel() == 1 and name in own:
            weights[name] = value.reshape(own[name].shape)
    weights |= {k: own[k] for k in own.keys() - weights.keys() if k.endswith(_COUNT)}
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
    clauses = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in problems.items() if keys]
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
    training: Training | None = None,
) -> None:
    """Write a model's weights as a safetensors file that `read_clip` and open_clip read.

    Args:
        model: the open_clip model.
        path: the file; it is written completely or not at all.
        dtype: of the floating-point weights in the file.
        note: how the weights were made, kept in the file's metadata.
        mask_prompts: (depth, N, C), kept beside the weights; open_clip cannot read such a file.
        training: what is known about the weights' training, kept in the file's metadata.

    Raises:
        ValueError: a weight overflows ``dtype``.
        WriteError: the file cannot be written.
    """
    metadata = {"note": note} if note else {}
    metadata |= {} if training is None else store_training(training)
    weights = {}
    state = model.state_dict()
    if mask_prompts is not None:
        state[MASK_PROMPTS] = mask_prompts
    for name, value in state.items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(dtype)
            if not torch.isfinite(stored).all():
                raise ValueError(f"weight {name} does not fit {dtype}; choose another dtype")
        weights[name] = stored.contiguous()
    with write_atomically(path) as file:
        file.write(save(weights, metadata=metadata or None))


def _warn_of_unknown_activation(tower: CLIPTower, file: CLIPFile) -> None:
    """Warn if only the model's name says which activation a tower's first weights have."""
    known = tower.possible_activations
    # Hugging Face's layout is that of weights of both kinds.
    unclear = len(known) > 1 or (file.layout and known != {True})
    told = file.training.quick_gelu is not None or tower.chosen.quick_gelu is not None
    if unclear and not told and tower.has_random_weights:
        _logger.warning(
            "%r does not say whether it was trained with QuickGELU or GELU, and that of the "
            "model's name is used; set MODEL.CLIP.QUICK_GELU%s",
            *(str(file.path), ", or copy its config.json beside it" if file.layout else ""),
        )


def _report(file: CLIPFile, kept: Sequence[str], key: str) -> None:
    """Log what of a file is used and what is not, and what a tower keeps."""
    parts = [f"{len(file.weights)} tensors of {str(file.path)!r} are loaded"]
    unused = file.unused if file.prompts is None else (MASK_PROMPTS, *file.unused)
    if unused:
        parts.append(f"not used: {len(unused)} ({_some(unused)})")
    if kept:
        parts.append(f"missing, so that the former ones stay: {len(kept)} ({_some(kept)})")
    level = logging.WARNING if kept else logging.INFO
    _logger.log(level, "%s: %s", key, "; ".join(parts))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
