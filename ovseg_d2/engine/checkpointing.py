"""Checkpoints that are complete or absent, and weights that fit or are refused."""

import errno
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import torch
from torch import Tensor

from ..checkpoints import TRAINING_ENTRY
from ..clip import CLIPTower, stored_training
from ..d2.checkpoint import DetectionCheckpointer
from ..files import write_atomically
from ..plugin.arrival import describe_misfit, is_counted, misfit, take_release
from ..plugin.open_vocabulary import OpenVocabularyModel
from ..plugin.weights import MisfitError, training_entry
from ..weight_files import (
    WeightFileError,
    check_plain_pickle,
    find_weights,
    read_checkpoint,
    read_last_checkpoint,
    read_weight_file,
)

__all__ = ["Checkpointer"]

_logger = logging.getLogger(__name__)


class Checkpointer(DetectionCheckpointer):
    """detectron2's checkpointer, for runs that may be killed and files that may not fit.

    ``last_checkpoint`` names a checkpoint only after it is complete: a kill or a full disk while
    saving leaves the former one to resume from.

    Tensors that do not fit the model are listed, up to five names of each kind:

    * When resuming, everything has to fit; otherwise the checkpoint is refused.
    * Weights (``MODEL.WEIGHTS``) are refused if a tensor of a shared name has another shape, or if
      no name is shared. If only some are missing or left over, a warning lists them, and the model
      keeps its initial values for the missing ones.

    Departs: detectron2 writes in place, and only warns about weights that do not fit.
    """

    _resuming = False
    _source = ""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<name>.pth`` into the folder, then name it in ``last_checkpoint``.

        Args:
            name: without ending.
            **kwargs: further entries of the file.

        Raises:
            WriteError: it cannot be written; former checkpoints are unchanged.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        tower = next((m for m in self.model.modules() if isinstance(m, CLIPTower)), None)
        if tower is not None:
            content |= training_entry(tower)
        content.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        content.update(kwargs)
        path = Path(self.save_dir) / f"{name}.pth"
        _logger.info("saving checkpoint %s", path)
        with write_atomically(path) as file:
            torch.save(content, file)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the checkpoint to resume from.

        Raises:
            WriteError: the name cannot be written; the former one stays.
        """
        with write_atomically(Path(self.save_dir) / "last_checkpoint", "w") as file:
            file.write(last_filename_basename)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Resume from the last checkpoint, or load weights if there is none or ``resume`` is False.

        Args:
            path: weights; "" keeps the model's initial ones.
            resume: whether to look for a checkpoint.

        Returns:
            The further entries of the file.

        Raises:
            FileNotFoundError: ``last_checkpoint`` names a file that does not exist.
            ValueError: ``last_checkpoint`` names a file outside of its folder; or the file cannot
                be read, holds code or values that are not finite, or does not fit; see the class.
        """
        self._resuming = resume and self.has_checkpoint()
        if self._resuming and not os.path.isfile(self.get_checkpoint_file()):
            raise FileNotFoundError(
                errno.ENOENT,
                f"the checkpoint {self.get_checkpoint_file()!r} does not exist; "
                f"{self._resume_remedy()}",
            )
        try:
            return super().resume_or_load(path, resume=resume)
        finally:
            self._resuming = False

    def get_checkpoint_file(self) -> str:
        """Path of the last checkpoint; "" if none is named.

        Raises:
            ValueError: ``last_checkpoint`` names a file outside of its folder.
        """
        return read_last_checkpoint(self.save_dir)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file; errors are those of :meth:`resume_or_load`.

        Departs: without a file fvcore logs that the model starts from scratch, which is wrong for a
        CLIP or a backbone with weights.
        """
        if not path:
            return {}
        self._source = path
        return super().load(path, checkpointables)

    def _load_file(self, f: str) -> dict[str, Any]:
        query = parse_qs(urlparse(self._source).query)
        by_end = query.pop("matching_heuristics", ["False"]) == ["True"]
        if query:
            raise ValueError(
                f"the weights {self._source!r} have {sorted(query)} behind their name; only "
                "matching_heuristics=True may follow it"
            )
        try:
            if _has_foreign_names(f):
                # The file has been checked to hold no code.
                return super()._load_file(f)
            content = read_checkpoint(f)
        except WeightFileError as error:
            raise self._unreadable(error.problem, error.remedy) from error
        other = [key for key, value in content["model"].items() if not isinstance(value, Tensor)]
        if other:
            raise self._unreadable(f"its entry {other[0]!r} is not a tensor", "give another file")
        if by_end:
            content["matching_heuristics"] = True
        return content

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        training = stored_training(Path(self._source), checkpoint)
        checkpoint.pop(TRAINING_ENTRY, None)
        try:
            checkpoint["model"] = take_release(self.model, checkpoint["model"])
            if isinstance(self.model, OpenVocabularyModel):
                self.model.adopt_training(training)
            result = super()._load_model(checkpoint)
            shapes = result.incorrect_shapes
            other = {name for name, *_ in shapes}
            missing = [n for n in result.missing_keys if n not in other and is_counted(n)]
            counted = [name for name in self.model.state_dict() if is_counted(name)]
            if not self._resuming and (shapes or len(missing) == len(counted)):
                raise misfit(self.model, missing, result.unexpected_keys, shapes)
        except MisfitError as error:
            raise ValueError(f"{self._source} {error.problem}; {error.remedy}") from error
        if self._resuming:
            problems = describe_misfit(missing, result.unexpected_keys, shapes)
            if problems:
                raise ValueError(
                    f"{self._source} does not fit {type(self.model).__name__}: {problems}; resume "
                    "with the config that it was trained with"
                )
        else:
            self._report(missing, [n for n in result.unexpected_keys if is_counted(n)])
        return result

    def _report(self, missing: list[str], unexpected: list[str]) -> None:
        """Warn of weights that are missing or left over; a CLIP may have others."""
        clip = tuple(
            f"{name}."
            for name, module in self.model.named_modules()
            if isinstance(module, CLIPTower) and not module.has_random_weights
        )
        kept = [name for name in missing if name.startswith(clip)]
        missing = [name for name in missing if not name.startswith(clip)]
        if kept:
            _logger.info("%s holds no CLIP; that of MODEL.CLIP.PRETRAINED stays", self._source)
        problems = describe_misfit(missing, unexpected, [])
        if problems:
            name = type(self.model).__name__
            _logger.warning(
                "%s does not fit %s: %s; the rest is loaded", self._source, name, problems
            )
            for kind, names in (("missing", missing), ("unexpected", unexpected)):
                if names:
                    _logger.info("all that are %s: %s", kind, ", ".join(sorted(names)))

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        """Log nothing: `_load_model` has done so in one line."""

    def _unreadable(self, problem: str, remedy: str) -> ValueError:
        remedy = self._resume_remedy() if self._resuming else remedy
        return ValueError(f"cannot read the checkpoint {self._source!r}: {problem}; {remedy}")

    def _resume_remedy(self) -> str:
        broken = os.path.abspath(self.get_checkpoint_file())
        others = [
            path
            for path in Path(self.save_dir).glob("*.pth")
            if os.path.abspath(path) != broken and path.is_file()
        ]
        if not others:
            return "start again without --resume"
        newest = max(others, key=lambda path: path.stat().st_mtime)
        return (
            f"to resume from an earlier one, write its name, such as {newest.name}, into "
            f"{os.path.join(self.save_dir, 'last_checkpoint')}"
        )


def _has_foreign_names(path: str) -> bool:
    """Whether a file is of Caffe2 or pycls, whose names detectron2 converts.

    Raises:
        WeightFileError: the file cannot be read without running code, or is not finite.
    """
    if not path.endswith((".pkl", ".pyth")):
        return False
    content = read_weight_file(path)
    if isinstance(content, dict) and {"model", "__author__"} <= content.keys():
        return False
    if path.endswith(".pkl"):
        check_plain_pickle(path)  # detectron2 unpickles it
    blobs = content.get("blobs", content) if isinstance(content, dict) else content
    find_weights(blobs, path)
    return True
