"""Numbers are kept with their iterations and written once, by either provider."""

import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.utils.events import (
    EventStorage,
    EventWriter,
    get_event_storage,
    has_event_storage,
)

_home = sys.modules[EventStorage.__module__]
CommonMetricPrinter, JSONWriter = _home.CommonMetricPrinter, _home.JSONWriter
TensorboardXWriter = _home.TensorboardXWriter


def fill(storage: EventStorage, name: str, values: list[float], **kwargs) -> None:
    for iteration, value in enumerate(values):
        storage.iter = iteration
        storage.put_scalar(name, value, **kwargs)


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("detectron2.utils.events"), _Keep()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_innermost_storage_is_the_current_one():
    assert not has_event_storage()
    with EventStorage() as outer:
        assert get_event_storage() is outer
        with EventStorage() as inner:
            assert get_event_storage() is inner
        assert get_event_storage() is outer
    assert not has_event_storage()


def test_no_storage_is_an_error():
    with pytest.raises(AssertionError, match="has to be called inside a 'with EventStorage"):
        get_event_storage()


def test_storage_is_left_on_an_error():
    with pytest.raises(RuntimeError):
        with EventStorage():
            raise RuntimeError
    assert not has_event_storage()


def test_values_belong_to_iterations():
    storage = EventStorage(start_iter=5)
    storage.put_scalar("a", torch.tensor(1.5))
    storage.iter = 6
    storage.put_scalars(a=2, b=3.0)
    storage.put_scalar("b", 4, cur_iter=9)
    assert storage.iter == 6
    assert storage.history("a").values() == [(1.5, 5), (2.0, 6)]
    assert storage.latest() == {"a": (2.0, 6), "b": (4.0, 9)}
    assert set(storage.histories()) == {"a", "b"}


def test_unknown_scalar_is_an_error():
    with pytest.raises(KeyError, match="No history metric available for a!"):
        EventStorage().history("a")


def test_smoothing_is_the_median_of_a_window_of_iterations():
    storage = EventStorage()
    fill(storage, "noisy", [9.0, 1.0, 5.0, 2.0])
    fill(storage, "exact", [9.0, 1.0, 5.0, 2.0], smoothing_hint=False)
    assert storage.latest_with_smoothing_hint(3) == {"noisy": (2.0, 3), "exact": (2.0, 3)}
    assert storage.latest_with_smoothing_hint(2) == {"noisy": (3.5, 3), "exact": (2.0, 3)}


def test_window_counts_iterations_not_values():
    storage = EventStorage()
    for iteration, value in [(0, 9.0), (10, 1.0), (10, 2.0), (10, 3.0), (12, 4.0)]:
        storage.put_scalar("a", value, cur_iter=iteration)
    assert storage.count_samples("a", 2) == 1
    assert storage.count_samples("a", 3) == 4
    assert storage.count_samples("a", 13) == 5


def test_smoothing_hint_cannot_change():
    storage = EventStorage()
    storage.put_scalar("a", 1.0)
    with pytest.raises(AssertionError, match="a was put with a different smoothing_hint!"):
        storage.put_scalar("a", 1.0, smoothing_hint=False)


def test_json_lines_hold_what_is_new(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text('{"iteration": -1}\n')
    writer = JSONWriter(str(file), window_size=3)
    with EventStorage() as storage:
        fill(storage, "loss", [8.0, 1.0, 3.0, 2.0])
        storage.put_scalar("lr", 0.5, smoothing_hint=False, cur_iter=2)
        writer.write()
        writer.write()
        storage.put_scalar("mIoU", 40.0, smoothing_hint=False, cur_iter=4)
        writer.write()
    writer.close()
    assert file.read_text().splitlines()[0] == '{"iteration": -1}'
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    assert sorted(lines, key=lambda line: line["iteration"]) == [
        {"iteration": 2, "lr": 0.5},
        {"iteration": 3, "loss": 2.0},
        {"iteration": 4, "mIoU": 40.0},
    ]


def test_json_lines_are_on_disk_at_once(tmp_path):
    writer = JSONWriter(str(tmp_path / "metrics.json"))
    with EventStorage() as storage:
        storage.put_scalar("a", 1.0)
        writer.write()
        assert json.loads((tmp_path / "metrics.json").read_text()) == {"iteration": 0, "a": 1.0}
    writer.close()


def test_tensorboard_file_holds_scalars_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = TensorboardXWriter(str(tmp_path), window_size=2)
    assert not list(tmp_path.iterdir()), "the file is opened at the first write"
    with EventStorage() as storage:
        fill(storage, "loss", [8.0, 1.0, 2.0])
        storage.put_image("image", torch.zeros(3, 4, 5))
        writer.write()
        writer.write()
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 1.5)]
    (image,) = events.Images("image")
    assert (image.step, image.height, image.width) == (2, 4, 5)


def test_tensorboard_without_a_write_makes_no_file(tmp_path):
    TensorboardXWriter(str(tmp_path)).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 brings tensorboard along")
def test_missing_tensorboard_is_logged_once(tmp_path, monkeypatch, log):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "ovseg_d2.d2.standin.utils.events.find_spec",
        lambda name: None if name == "tensorboard" else find_spec(name),
    )
    writer = TensorboardXWriter(str(tmp_path))
    with EventStorage() as storage:
        storage.put_scalar("a", 1.0)
        writer.write()
        writer.write()
    writer.close()
    assert len(log) == 1
    assert "pip install tensorboard" in log[0]
    assert not list(Path(tmp_path).iterdir())


def test_printer_shows_progress(log):
    with EventStorage() as storage:
        for iteration, value in enumerate([9.0, 1.0, 2.0, 4.0]):
            storage.iter = iteration
            storage.put_scalars(total_loss=value, time=value, data_time=0.5)
            storage.put_scalar("[metric]size", 3.0)
            storage.put_scalar("lr", 0.25, smoothing_hint=False)
        CommonMetricPrinter(max_iter=10, window_size=3).write()
        # The median of all times is 3 seconds; six iterations are left.
        assert storage.latest()["eta_seconds"] == (18.0, 3)
    (line,) = log
    parts = " ".join(line.split())
    assert parts.startswith(
        "eta: 0:00:18 iter: 3 total_loss: 2 [metric]size: 3 time: 4.0000 last_time: 4.0000 "
        "data_time: 0.5000 last_data_time: 0.5000 lr: 0.25"
    )
    assert ("max_mem:" in parts) is torch.cuda.is_available()


def test_printer_without_the_trainers_numbers(log):
    with EventStorage() as storage:
        printer = CommonMetricPrinter()
        printer.write()
        storage.iter = 4
        printer.write()
    assert [" ".join(line.split()) for line in log] == ["iter: 0 lr: N/A", "iter: 4 lr: N/A"]


def test_printer_estimates_the_time_without_a_timer(log):
    with EventStorage() as storage:
        printer = CommonMetricPrinter(max_iter=9)
        printer.write()
        storage.iter = 4
        printer.write()
    assert "eta" not in log[0]
    assert "eta: 0:00:00" in log[1]


def test_printer_is_silent_after_the_last_iteration(log):
    with EventStorage(10):
        CommonMetricPrinter(max_iter=10).write()
    assert not log


def test_writers_can_be_written(tmp_path):
    class Last(EventWriter):
        def write(self) -> None:
            self.seen = dict(get_event_storage().latest())

    writer = Last()
    with EventStorage() as storage:
        storage.put_scalar("a", 1.0)
        writer.write()
    writer.close()
    assert writer.seen == {"a": (1.0, 0)}
