"""Checkpoints that are whole or not there, and weights that fit or are refused."""

import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import torch
from torch import Tensor

from ..d2.checkpoint import DetectionCheckpointer
from ..files import write_atomically
from ..weight_files import (
    WeightFileError,
    check_plain_pickle,
    describe_method,
    find_weights,
    read_checkpoint,
    read_last_checkpoint,
    read_weight_file,
)

__all__ = ["Checkpointer"]

_logger = logging.getLogger(__name__)
_SHOWN = 5


class Checkpointer(DetectionCheckpointer):
    """detectron2's checkpointer, for runs that may be killed and files that may not fit.

    A checkpoint appears whole or not at all, and ``last_checkpoint`` names it only then: a kill or
    a full disk in the middle of saving leaves the former one to go on from.

    What does not fit the model is told, up to five names of each kind:

    * Going on from a checkpoint, everything has to fit; otherwise it is refused.
    * Weights (``MODEL.WEIGHTS``) are refused where a tensor of a shared name has another shape, or
      where no name is shared. If only some are missing or left over, a warning lists them and the
      model keeps its own values of the missing ones.

    Departs: detectron2 writes in place, and only warns whatever the weights are.
    """

    _going_on = False
    _source = ""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<name>.pth`` into the folder, then name it in ``last_checkpoint``.

        Args:
            name: without ending.
            **kwargs: further entries of the file.

        Raises:
            WriteError: it cannot be written; former checkpoints are as they were.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        content.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        content.update(kwargs)
        path = Path(self.save_dir) / f"{name}.pth"
        _logger.info("saving checkpoint %s", path)
        with write_atomically(path) as file:
            torch.save(content, file)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Name the checkpoint to go on from.

        Raises:
            WriteError: the name cannot be written; the former one stays.
        """
        with write_atomically(Path(self.save_dir) / "last_checkpoint", "w") as file:
            file.write(last_filename_basename)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Go on from the last checkpoint if there is one and it is wanted, else load weights.

        Args:
            path: weights; "" keeps the model's own.
            resume: whether to look for a checkpoint.

        Returns:
            What else the file holds.

        Raises:
            FileNotFoundError: ``last_checkpoint`` names a file that is not there.
            ValueError: ``last_checkpoint`` names a file outside of its folder; or the file cannot
                be read, holds code or values that are not finite, or does not fit; see the class.
        """
        self._going_on = resume and self.has_checkpoint()
        if self._going_on and not os.path.isfile(self.get_checkpoint_file()):
            raise FileNotFoundError(
                errno.ENOENT,
                f"the checkpoint {self.get_checkpoint_file()!r} does not exist; {self._way_out()}",
            )
        try:
            return super().resume_or_load(path, resume=resume)
        finally:
            self._going_on = False

    def get_checkpoint_file(self) -> str:
        """Path of the last checkpoint; "" where none is named.

        Raises:
            ValueError: ``last_checkpoint`` names a file outside of its folder.
        """
        return read_last_checkpoint(self.save_dir)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file; see :meth:`resume_or_load` for what it raises.

        Departs: without a file fvcore says that the model starts from scratch, which is not so
        where CLIP or a backbone has weights of its own.
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
                f"the weights {self._source!r} have {sorted(query)} behind their name; "
                "matching_heuristics=True is the one thing that may stand there"
            )
        try:
            if _is_of_another_naming(f):
                # The file is known to hold no code by now, whatever reads it.
                return super()._load_file(f)
            content = read_checkpoint(f)
        except WeightFileError as error:
            raise self._unreadable(error.problem, error.remedy) from error
        strange = [key for key, value in content["model"].items() if not isinstance(value, Tensor)]
        if strange:
            raise self._unreadable(f"its entry {strange[0]!r} is no tensor", "give another file")
        if by_end:
            content["matching_heuristics"] = True
        return content

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        found = super()._load_model(checkpoint)
        shapes = {name for name, *_ in found.incorrect_shapes}
        missing = [name for name in found.missing_keys if name not in shapes]
        problems = _describe(missing, found.unexpected_keys, found.incorrect_shapes)
        if not problems:
            return found
        message = f"{self._source} does not fit {type(self.model).__name__}: {problems}"
        if self._going_on:
            raise ValueError(f"{message}; go on with the config that it was trained with")
        if shapes or len(missing) == len(self.model.state_dict()):
            method = describe_method(found.unexpected_keys)
            raise ValueError(
                f"{message}; {f'by its names it is of {method}; ' if method else ''}give a "
                "checkpoint of this model (weights of CLIP alone belong in MODEL.CLIP.PRETRAINED)"
            )
        _logger.warning("%s; the rest is loaded", message)
        return found

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        """Say nothing: `_load_model` has, in one line."""

    def _unreadable(self, problem: str, remedy: str) -> ValueError:
        way_out = self._way_out() if self._going_on else remedy
        return ValueError(f"cannot read the checkpoint {self._source!r}: {problem}; {way_out}")

    def _way_out(self) -> str:
        broken = os.path.abspath(self.get_checkpoint_file())
        others = [
            path
            for path in Path(self.save_dir).glob("*.pth")
            if os.path.abspath(path) != broken and path.is_file()
        ]
        if not others:
            return "start anew without --resume"
        newest = max(others, key=lambda path: path.stat().st_mtime)
        return (
            f"to go on from an earlier one, write its name, such as {newest.name}, into "
            f"{os.path.join(self.save_dir, 'last_checkpoint')}"
        )


def _is_of_another_naming(path: str) -> bool:
    """Tell files of Caffe2 and pycls, whose names detectron2 converts.

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


def _describe(
    missing: list[str],
    unexpected: list[str],
    shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [
            f"{name} {tuple(theirs)} instead of {tuple(own)}" for name, theirs, own in shapes
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names
    )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
