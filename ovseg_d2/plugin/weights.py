"""What the file of ``MODEL.WEIGHTS`` holds, seen before a model is built."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..checkpoints import TRAINING_ENTRY, flatten_maskclip, recognise
from ..clip import CLIPTower, Training, stored_training, training_of, uses_quick_gelu
from ..d2 import HAS_DETECTRON2
from ..d2.config import CfgNode
from ..weight_files import (
    WeightFileError,
    check_plain_pickle,
    describe_method,
    find_weights,
    read_weight_file,
)

__all__ = [
    "HeldWeights",
    "MisfitError",
    "check_pickled_weights",
    "held_weights",
    "training_entry",
]

# Ends and parts of names in checkpoints of this project.
_CLIP = "tower.model.logit_scale"
_BACKBONE = ".backbone.network."
# Methods by `describe_method` of which this project has nothing to load.
_OTHERS = ("SAN", "CAT-Seg", "Mask2Former", "SAM", "GroupViT", "SigLIP")


class MisfitError(ValueError):
    """Weights do not fit a model.

    Attributes:
        problem: clause with the model, such as "does not fit OVSeg: 4 missing: a, b, c, d".
        remedy: clause about what to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        """Store both clauses."""
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        """Return the sentence."""
        return f"MODEL.WEIGHTS {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class HeldWeights:
    """Parts of a model in a checkpoint, for which no other file is needed.

    Attributes:
        clip: whether it holds a CLIP.
        backbone: whether it holds a backbone.
        training: what it says about the CLIP's training.
        unseen: whether ``MODEL.WEIGHTS`` names something other than a file that can be read.
    """

    clip: bool = False
    backbone: bool = False
    training: Training = Training()
    unseen: bool = False


def check_pickled_weights(cfg: CfgNode) -> None:
    """Refuse ``MODEL.WEIGHTS`` that hold code.

    detectron2's ``DefaultPredictor`` builds the model and then loads with detectron2's
    checkpointer, which unpickles ``.pkl`` files; `engine.Checkpointer` and the stand-in do not.

    Raises:
        WeightFileError: the file holds code, or cannot be read.
    """
    path = _file_of(cfg)
    if HAS_DETECTRON2 and path.endswith(".pkl") and os.path.isfile(path):
        check_plain_pickle(path)


def held_weights(cfg: CfgNode) -> HeldWeights:
    """Look at the names in the file of ``MODEL.WEIGHTS``, without reading its values.

    Raises:
        MisfitError: the file belongs in another config key, or is of another method.
        WeightFileError: it holds no usable weights; of layouts that detectron2 alone knows, loading
            refuses it.
    """
    path = _file_of(cfg)
    if path != cfg.MODEL.WEIGHTS or not os.path.isfile(path):
        # With a query behind it, names of the file are matched to those of any model.
        return HeldWeights(unseen=path not in ("", "random"))
    about = os.stat(path)
    return _look(path, about.st_mtime_ns, about.st_size)


def training_entry(tower: CLIPTower) -> dict[str, Any]:
    """Return the entry of a checkpoint about its CLIP, which `stored_training` reads."""
    facts = {"mean": tower.mean, "std": tower.std, "quick_gelu": uses_quick_gelu(tower.model)}
    return {TRAINING_ENTRY: facts}


def _file_of(cfg: CfgNode) -> str:
    """Return the path in ``MODEL.WEIGHTS``, without detectron2's query behind it."""
    return str(cfg.MODEL.WEIGHTS).partition("?")[0]


@lru_cache(maxsize=8)
def _look(path: str, _modified: int, _size: int) -> HeldWeights:
    try:
        content = flatten_maskclip(read_weight_file(path, values=False))
        weights, entries = find_weights(content, path)
    except WeightFileError:
        if path.endswith((".pkl", ".pyth")):
            return HeldWeights(unseen=True)  # detectron2 reads layouts of Caffe2 and pycls
        raise
    names = list(weights)
    release = recognise(names)
    if release is not None and not release.whole:
        raise MisfitError(f"{path!r} is {release.title}", f"it belongs in {release.place}")
    if release is not None:
        holds = release.holds
        return HeldWeights("clip" in holds, "backbone" in holds, training_of(release))
    method = describe_method(names)
    if method.startswith("CLIP") and "logit_scale" in names:
        raise MisfitError(
            f"{path!r} holds a CLIP alone",
            "it belongs in MODEL.CLIP.PRETRAINED, or in MODEL.OVSEG.CLIP_WEIGHTS if it was adapted "
            "to masked crops",
        )
    if method.startswith(_OTHERS):
        raise MisfitError(
            f"{path!r} is of another method, {method}", "give a checkpoint of this model"
        )
    return HeldWeights(
        any(name.endswith(_CLIP) for name in names),
        any(_BACKBONE in name for name in names),
        stored_training(Path(path), entries),
    )
