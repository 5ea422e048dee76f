"""Tells, early in a training, of labels from which nothing is learnt."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..vocab import name_some

__all__ = ["LabelWatch"]

_logger = logging.getLogger(__name__)
_MOST = 1000  # images after which it is told, where the dataset has more


class LabelWatch:
    """Looks at the samples of a pass over the dataset, or of the first thousand.

    Of samples it reads ``label_classes``, the classes in the whole label file, and
    ``label_ignored``, whether it has ignored pixels; samples without them are passed over.
    """

    def __init__(self, num_images: int) -> None:
        """Say how long to look.

        Args:
            num_images: of the dataset.
        """
        self._left = min(num_images, _MOST)
        self._classes: set[int] = set()
        self._ignores = False
        self._seen: dict[str, bool] = {}  # image -> whether its labels are ignored whole

    def watch(self, batches: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
        """Hand batches on as they are."""
        for batch in batches:
            if self._left > 0:
                self._look_at(batch)
            yield batch

    def _look_at(self, batch: Sequence[Mapping[str, Any]]) -> None:
        for sample in batch:
            if "label_classes" not in sample:
                continue
            is_empty, name = not sample["label_classes"], str(sample["file_name"])
            if is_empty and not any(self._seen.values()):
                _logger.warning(
                    "image %s: all pixels of its labels are ignored, and nothing is learnt from "
                    "them; the number of such images follows",
                    name,
                )
            self._seen[name] = is_empty and self._seen.get(name, True)
            self._classes.update(sample["label_classes"])
            self._ignores |= sample["label_ignored"]
        self._left -= len(batch)
        if self._left <= 0:
            self._tell()

    def _tell(self) -> None:
        empty = [name for name, is_empty in self._seen.items() if is_empty]
        if empty:
            _logger.warning(
                "%d of the first %d training images have labels that are ignored whole: %s",
                len(empty),
                len(self._seen),
                name_some(empty),
            )
        if self._classes == {0} and self._ignores:
            _logger.warning(
                "the labels of the first %d training images hold class 0 and ignored pixels alone, "
                "like masks in black and white, of which 255 is ignored: one class is learnt; "
                "write class ids into the label files",
                len(self._seen),
            )
