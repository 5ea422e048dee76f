"""Warnings, early in a training, of labels without a training signal."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..vocab import name_some

__all__ = ["LabelWatch"]

_logger = logging.getLogger(__name__)
_MOST = 1000  # images that are checked, at most


class LabelWatch:
    """Checks the labels of a pass over the dataset, or of its first thousand samples.

    It reads ``label_classes``, the classes in the whole label file, and ``label_ignored``, whether
    the file has ignored pixels; samples without these entries are skipped.
    """

    def __init__(self, num_images: int) -> None:
        """Check up to ``num_images`` samples, the size of the dataset."""
        self._left = min(num_images, _MOST)
        self._classes: set[int] = set()
        self._ignores = False
        self._seen: dict[str, bool] = {}  # image -> whether all its labels are ignored

    def watch(self, batches: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
        """Check batches and yield them unchanged."""
        for batch in batches:
            if self._left > 0:
                self._check(batch)
            yield batch

    def _check(self, batch: Sequence[Mapping[str, Any]]) -> None:
        for sample in batch:
            if "label_classes" not in sample:
                continue
            is_empty, name = not sample["label_classes"], str(sample["file_name"])
            if is_empty and not any(self._seen.values()):
                _logger.warning(
                    "image %s: all pixels of its labels are ignored, so nothing is learnt from it; "
                    "the number of such images follows",
                    name,
                )
            self._seen[name] = is_empty and self._seen.get(name, True)
            self._classes.update(sample["label_classes"])
            self._ignores |= sample["label_ignored"]
        self._left -= len(batch)
        if self._left <= 0:
            self._report()

    def _report(self) -> None:
        empty = [name for name, is_empty in self._seen.items() if is_empty]
        if empty:
            _logger.warning(
                "%d of the first %d training images have labels that are ignored completely: %s",
                len(empty),
                len(self._seen),
                name_some(empty),
            )
        if self._classes == {0} and self._ignores:
            _logger.warning(
                "the labels of the first %d training images hold only class 0 and ignored pixels, "
                "like masks in black and white, of which 255 is ignored: one class is learnt; "
                "write class ids into the label files",
                len(self._seen),
            )
