"""Numbers of a training run: their storage and their writers.

Stands in for ``detectron2.utils.events``. Anything that runs inside a training step puts scalars
into the storage of the run; writers turn them into lines on the screen, ``metrics.json`` and
tensorboard files.
"""

import datetime
import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from itertools import takewhile
from types import TracebackType
from typing import Any

import numpy as np
import torch
from fvcore.common.history_buffer import HistoryBuffer

from .file_io import PathManager

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]

_logger = logging.getLogger("detectron2.utils.events")

_open_storages: list["EventStorage"] = []


def has_event_storage() -> bool:
    """Whether this code runs inside a ``with EventStorage(...)`` block."""
    return bool(_open_storages)


def get_event_storage() -> "EventStorage":
    """The innermost open storage.

    Raises:
        AssertionError: none is open.
    """
    assert _open_storages, (
        "get_event_storage() has to be called inside a 'with EventStorage(...)' context!"
    )
    return _open_storages[-1]


class EventStorage:
    """The scalars of a run with their history, and images for a writer."""

    def __init__(self, start_iter: int = 0) -> None:
        """Start empty.

        Args:
            start_iter: iteration that the first data belong to.
        """
        self._iter = start_iter
        self._history: defaultdict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._latest: dict[str, tuple[float, int]] = {}
        self._smoothing_hints: dict[str, bool] = {}
        self._images: list[tuple[str, torch.Tensor | np.ndarray, int]] = []

    @property
    def iter(self) -> int:
        """Iteration of new data; the trainer sets it to its iteration."""
        return self._iter

    @iter.setter
    def iter(self, value: int) -> None:
        self._iter = int(value)

    def put_scalar(
        self, name: str, value: float, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Record one number.

        Args:
            name: key.
            value: anything that ``float()`` takes.
            smoothing_hint: whether writers should show a median rather than the last value.
            cur_iter: iteration it belongs to; the current one by default.

        Raises:
            AssertionError: ``smoothing_hint`` differs from that of an earlier call for this name.
        """
        iteration = self._iter if cur_iter is None else cur_iter
        hint = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert hint == smoothing_hint, f"Scalar {name} was put with a different smoothing_hint!"
        value = float(value)
        self._history[name].update(value, iteration)
        self._latest[name] = (value, iteration)

    def put_scalars(
        self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **scalars: float
    ) -> None:
        """Record several numbers, given by keyword; see :meth:`put_scalar`."""
        for name, value in scalars.items():
            self.put_scalar(name, value, smoothing_hint, cur_iter)

    def put_image(self, img_name: str, img_tensor: torch.Tensor | np.ndarray) -> None:
        """Store an image for tensorboard.

        Args:
            img_name: key.
            img_tensor: (3, H, W) RGB, uint8 in [0, 255] or float in [0, 1].
        """
        self._images.append((img_name, img_tensor, self._iter))

    def clear_images(self) -> None:
        """Remove the stored images; called by the writer that shows them."""
        self._images = []

    def history(self, name: str) -> HistoryBuffer:
        """All values recorded under ``name``.

        Raises:
            KeyError: there are none.
        """
        if name not in self._history:
            raise KeyError(f"No history metric available for {name}!")
        return self._history[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """All recorded values, by name."""
        return self._history

    def latest(self) -> dict[str, tuple[float, int]]:
        """The last value of each scalar and the iteration it belongs to."""
        return self._latest

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """Return :meth:`latest` with the median of scalars whose hint is True.

        Args:
            window_size: the median is over the values of so many iterations, up to the last.
        """
        return {
            name: (self._median(name, window_size) if self._smoothing_hints[name] else value, at)
            for name, (value, at) in self._latest.items()
        }

    def _median(self, name: str, window_size: int) -> float:
        return float(self.history(name).median(self.count_samples(name, window_size)))

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """Count the values of a scalar in its last ``window_size`` iterations with data."""
        values = self.history(name).values()
        oldest = values[-1][1] - window_size
        return sum(1 for _ in takewhile(lambda value: value[1] > oldest, reversed(values)))

    def __enter__(self) -> "EventStorage":
        """Become the storage that :func:`get_event_storage` returns."""
        _open_storages.append(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the storage that was open before."""
        assert _open_storages[-1] is self, "EventStorage contexts must be left in reverse order."
        _open_storages.pop()


class EventWriter(ABC):
    """Writes data of the open storage."""

    @abstractmethod
    def write(self) -> None:
        """Write the data since the last call."""

    def close(self) -> None:  # noqa: B027 (most writers hold nothing that needs closing)
        """Close the files, after which nothing is written."""


class JSONWriter(EventWriter):
    """Appends scalars to a file, one JSON object per line and iteration."""

    def __init__(self, json_file: str, window_size: int = 20) -> None:
        """Open the file.

        Args:
            json_file: path; an existing file is continued.
            window_size: iterations in the median of smoothed scalars.
        """
        self._file = PathManager.open(json_file, "a")
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        """Write the scalars of each iteration that has new ones, with key ``iteration``."""
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        lines: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                lines[iteration][name] = value
        for iteration, scalars in sorted(lines.items()):
            line = json.dumps({**scalars, "iteration": iteration}, sort_keys=True)
            self._file.write(line + "\n")
            self._last_write = iteration
        self._file.flush()
        # A run may be killed at any time; files of other kinds than the disk's have no number.
        if hasattr(self._file, "fileno"):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorboardXWriter(EventWriter):
    """Writes scalars and images to a tensorboard file, opened at the first write.

    Departs: where tensorboard is not installed it warns once and drops its data; detectron2,
    which always brings tensorboard along, would end the training.
    """

    def __init__(self, log_dir: str, window_size: int = 20) -> None:
        """Set the folder.

        Args:
            log_dir: folder of the event file.
            window_size: iterations in the median of smoothed scalars.
        """
        self._window_size = window_size
        self._log_dir = log_dir
        self._last_write = -1

    @cached_property
    def _writer(self) -> Any:
        if find_spec("tensorboard") is None:
            _logger.warning(
                "tensorboard is not installed, so no tensorboard file is written (metrics.json "
                "holds the same scalars); to get one: pip install tensorboard"
            )
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(self._log_dir)

    def write(self) -> None:
        """Write the scalars and images that are new."""
        storage = get_event_storage()
        images = storage._images
        storage.clear_images()
        if self._writer is None:
            return
        newest = self._last_write
        for name, (value, at) in storage.latest_with_smoothing_hint(self._window_size).items():
            if at > self._last_write:
                self._writer.add_scalar(name, value, at)
                newest = max(newest, at)
        self._last_write = newest
        for name, image, at in images:
            self._writer.add_image(name, image, at)

    def close(self) -> None:
        """Close the file, if one was opened."""
        if self.__dict__.get("_writer") is not None:
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs one line: time left, losses and other metrics, seconds per iteration, rate, memory."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        """Set the length of the run.

        Args:
            max_iter: iterations of the run; None leaves out the time left.
            window_size: iterations in the median of losses.
        """
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write: tuple[int, float] | None = None

    def _time_left(self, storage: EventStorage) -> str | None:
        """The time left as h:mm:ss; None while it cannot be known."""
        if self._max_iter is None:
            return None
        num_left = self._max_iter - storage.iter - 1
        if "time" in storage.histories():
            seconds = float(storage.history("time").median(1000)) * num_left
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
            return str(datetime.timedelta(seconds=int(seconds)))
        # Without an IterationTimer the pace between two writes has to do.
        now = time.perf_counter()
        previous, self._last_write = self._last_write, (storage.iter, now)
        if previous is None or previous[0] == storage.iter:
            return None
        seconds = (now - previous[1]) / (storage.iter - previous[0]) * num_left
        return str(datetime.timedelta(seconds=int(seconds)))

    def write(self) -> None:
        """Log the line, except after the last iteration."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return
        histories = storage.histories()

        def show(name: str, key: str, value: Callable[[HistoryBuffer], float]) -> list[str]:
            return [f"{name}: {value(histories[key]):.4f}"] if key in histories else []

        def recent_mean(history: HistoryBuffer) -> float:
            return history.avg(storage.count_samples("data_time", self._window_size))

        def medians(part: str) -> list[str]:
            names = [name for name in histories if part in name]
            return [f"{name}: {storage._median(name, self._window_size):.4g}" for name in names]

        time_left = self._time_left(storage)
        fields = [f"eta: {time_left}"] if time_left else []
        fields += [f"iter: {storage.iter}", *medians("loss"), *medians("[metric]")]
        fields += show("time", "time", HistoryBuffer.global_avg)
        fields += show("last_time", "time", HistoryBuffer.latest)
        fields += show("data_time", "data_time", recent_mean)
        fields += show("last_data_time", "data_time", HistoryBuffer.latest)
        fields += [f"lr: {histories['lr'].latest():.5g}" if "lr" in histories else "lr: N/A"]
        if torch.cuda.is_available():
            fields += [f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M"]
        _logger.info(" " + "  ".join(fields))
