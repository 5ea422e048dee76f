"""Search for the CLIP in a weight file of any layout, and for how it was trained."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ovseg_d2.checkpoints import (
    Release,
    convert_hugging_face_clip,
    flatten_maskclip,
    hugging_face_prefix,
    recognise,
)
from ovseg_d2.weight_files import (
    WeightFileError,
    describe_method,
    find_weights,
    read_metadata,
    read_weight_file,
)

from .beside import hugging_face_training, open_clip_training, stored_training
from .training import OPENAI_TRAINING, Training, training_of

__all__ = ["CLIPFile", "read_clip"]

# Entries of OpenAI's state dicts that are not weights; they identify the origin.
_OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")
# Constants that no model of open_clip keeps, and a count that inference does not read.
_NOT_WEIGHTS = ("attn_mask", "position_ids", "num_batches_tracked")
# Mask prompts in a state dict of CLIP, by their name in the official code of [ovseg]; and beside
# the tower in our training checkpoints.
MASK_PROMPTS = "visual.mask_embedding"
_BESIDE_TOWER = ("tower.model.", "prompts")
# Ends of prefixes of a CLIP model inside of other modules that are preferred to other prefixes.
_WRAPPERS = ("model.", "module.", "clip.", "backbone.", "net.")
_MOVING_AVERAGE = re.compile(r"(^|[._])(ema|averaged)([._]|$)")
# Names of an image half of open_clip, and of one without the prefix of the half.
_IMAGE_HALVES = (
    "visual.conv1.weight",
    "visual.trunk.stem.0.weight",
    "visual.trunk.patch_embed.proj.weight",
    "visual.trunk.blocks.0.norm1.weight",
    "visual.trunk.stem.0.conv_scale.conv.weight",
)
_LONE_VIT = ("class_embedding", "conv1.weight", "ln_pre.weight", "positional_embedding")
# Methods whose CLIP is a part of another network, or was changed for it, or is none.
_OTHER_METHODS = ("SAN", "CAT-Seg", "GroupViT", "SigLIP")


@dataclass(frozen=True)
class CLIPFile:
    """The CLIP in a weight file.

    Attributes:
        path: the file.
        weights: under open_clip's names; the image half alone has only names below ``visual.``.
        training: what the file says about the training.
        prompts: (depth, N, C) mask prompts; None if it has none.
        unused: names of the other tensors of the file.
        layout: "Hugging Face's" if the names are; "" is open_clip's and OpenAI's.
    """

    path: Path
    weights: dict[str, Tensor]
    training: Training
    prompts: Tensor | None = None
    unused: tuple[str, ...] = ()
    layout: str = ""

    def image_half(self) -> "CLIPFile":
        """Return the file without its text half.

        Raises:
            WeightFileError: it has no image half.
        """
        if not self.has_image:
            problem = "it holds no image half of a CLIP"
            raise WeightFileError(str(self.path), problem, "give a file with one")
        weights = {k: v for k, v in self.weights.items() if k.startswith("visual.")}
        unused = (*(k for k in self.weights if k not in weights), *self.unused)
        return replace(self, weights=weights, unused=unused)

    @property
    def has_image(self) -> bool:
        """Whether there is an image half."""
        return any(name.startswith("visual.") for name in self.weights)

    @property
    def has_text(self) -> bool:
        """Whether there is a text half."""
        return any(
            name == "token_embedding.weight" or name.startswith("text.") for name in self.weights
        )


def read_clip(path: Path, *, values: bool = True) -> CLIPFile:
    """Read the CLIP in a file.

    The formats are those of `read_weight_file`, with a state dict as in `find_weights`. Layouts are
    those of open_clip and OpenAI, with any one prefix; of Hugging Face's transformers; whole models
    of [ovseg] and [pixelclip]; and image halves alone, also as [maskclip]'s code extracts them. No
    code of a file is executed.

    Args:
        path: the file. Its training is read from the configs of open_clip or Hugging Face beside
            it, if there are any.
        values: False leaves the values of tensors unread, see `read_weight_file`.

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: the file is of another format or damaged, or holds values that are not
            finite, several CLIPs, text embeddings alone, or a method of another project.
        ValueError: a config beside it is damaged.
    """
    content = flatten_maskclip(read_weight_file(path, values=values))
    state, entries = find_weights(content, path)
    method = describe_method(state)
    if method.startswith(_OTHER_METHODS):
        raise WeightFileError(
            str(path),
            f"it is of another method, {method}",
            "give the file of open_clip, such as that of timm/ViT-B-16-SigLIP on the hub"
            if method.startswith("SigLIP")
            else "give a CLIP, or the release of CLIP",
        )
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    release = recognise(tensors)
    if hugging_face_prefix(tensors) is not None:
        file = _hugging_face(tensors, path)
    elif release is not None and "clip_image" in release.holds and release.convert is not None:
        converted = release.convert(tensors)
        file = CLIPFile(path, converted.weights, training_of(release))
    else:
        file = _open_clip(tensors, path, entries, release)
    if not file.has_image and not file.has_text and (release or method):
        raise WeightFileError(
            str(path),
            f"it holds {release.title if release else f'weights of {method}'} and no CLIP",
            f"it belongs in {release.place}" if release else "give a CLIP",
        )
    # Other entries with weights are moving averages.
    averages = (k for k, v in entries.items() if _has_weights(v))
    unused = (name for name in file.unused if not name.endswith(_NOT_WEIGHTS))
    return replace(file, unused=(*unused, *averages))


def _has_weights(entry: Any) -> bool:
    return isinstance(entry, dict) and any(isinstance(v, Tensor) for v in entry.values())


def _hugging_face(tensors: dict[str, Tensor], path: Path) -> CLIPFile:
    inside, unused = _split(tensors, hugging_face_prefix(tensors) or "")
    training = hugging_face_training(path)
    weights = convert_hugging_face_clip(inside)
    return CLIPFile(path, weights, training, unused=unused, layout="Hugging Face's")


def _open_clip(
    tensors: dict[str, Tensor], path: Path, entries: dict[str, Any], release: Release | None
) -> CLIPFile:
    prefix = _find_prefix(tensors, path)
    inside, unused = _split(tensors, prefix)
    if not prefix and set(_LONE_VIT) <= inside.keys() and "token_embedding.weight" not in inside:
        inside = {f"visual.{name}": value for name, value in inside.items()}
    prompts = inside.pop(MASK_PROMPTS, None)
    metadata = read_metadata(path)
    if all(name in tensors for name in _OPENAI_ENTRIES):
        training = OPENAI_TRAINING
    elif release is not None and "clip" in release.holds:
        training = training_of(release)
    elif prompts is not None and metadata is None:
        training = replace(OPENAI_TRAINING, release="OVSeg's mask-adapted CLIP")
    else:
        training = stored_training(path, metadata or entries).or_else(open_clip_training(path))
    weights = {
        name: value
        for name, value in inside.items()
        if name not in _OPENAI_ENTRIES and not name.endswith(_NOT_WEIGHTS[:2])
    }
    tower, beside = _BESIDE_TOWER
    if prompts is None and prefix.endswith(tower):
        beside = prefix.removesuffix(tower) + beside
        prompts = tensors.get(beside)
        unused = tuple(name for name in unused if name != beside)
    if prompts is not None and prompts.ndim != 3:
        problem = f"its mask prompts are {tuple(prompts.shape)}, not (depth, patches, width)"
        raise WeightFileError(str(path), problem, "give another file")
    return CLIPFile(path, weights, training, prompts, unused)


def _split(tensors: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors below a prefix, without it, and the names of the others."""
    inside = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return inside, tuple(name for name in tensors if not name.startswith(prefix))


def _find_prefix(names: Collection[str], path: Path) -> str:
    """Find the prefix of the names of the one CLIP model, or image half, in a state dict."""
    anchor = "logit_scale"  # at the top of every CLIP model
    prefixes = {
        prefix
        for prefix in _before(names, anchor)
        if any(other.startswith(f"{prefix}visual.") for other in names)
    }
    prefixes = prefixes or {p for half in _IMAGE_HALVES for p in _before(names, half)}
    for preferred in (
        {prefix for prefix in prefixes if not _MOVING_AVERAGE.search(prefix)},
        {prefix for prefix in prefixes if not prefix or prefix.endswith(_WRAPPERS)},
    ):
        prefixes = prefixes & preferred or prefixes
    if len(prefixes) > 1:
        raise WeightFileError(
            str(path),
            f"it holds several CLIP models, under {sorted(prefixes)}",
            "save the wanted one in a file of its own",
        )
    return prefixes.pop() if prefixes else ""


def _before(names: Collection[str], end: str) -> set[str]:
    """Return what stands before a name where it ends others."""
    ends = {name.removesuffix(end) for name in names if name.endswith(end)}
    return {prefix for prefix in ends if prefix[-1:] in ("", ".")}
