"""Fixtures of the contract tests: a dataset's name, detectron2's log, several processes."""

import itertools
import logging
from collections.abc import Iterator

import pytest
import torch.distributed as dist

from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog

_names = (f"ovseg_d2_test_dataset_{number}" for number in itertools.count())


@pytest.fixture
def d2_log() -> Iterator[list[str]]:
    """Collect the messages of "detectron2" and its children, which may not propagate."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("detectron2")
    level, collector = logger.level, Collector()
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(level)
    logger.removeHandler(collector)


@pytest.fixture
def dataset_name() -> Iterator[str]:
    """Give an unused name of a dataset, and unregister it afterwards."""
    name = next(_names)
    yield name
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog:
            catalog.remove(name)


@pytest.fixture
def pretend_world(monkeypatch: pytest.MonkeyPatch):
    """Give a function that makes torch report several processes."""

    def pretend(world_size: int, rank: int) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda *args, **kwargs: world_size)
        monkeypatch.setattr(dist, "get_rank", lambda *args, **kwargs: rank)

    return pretend
