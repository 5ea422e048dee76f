"""What the contract tests share: a small dataset on disk, its name, detectron2's log."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from PIL import Image

from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog

_names = (f"ovseg_d2_test_dataset_{number}" for number in itertools.count())


@pytest.fixture
def d2_log() -> Iterator[list[str]]:
    """Collect what is logged below "detectron2", also where it does not propagate."""
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
    """Give a name that no dataset has, and forget what was registered under it."""
    name = next(_names)
    yield name
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog:
            catalog.remove(name)


@pytest.fixture
def pictures(tmp_path: Path) -> list[dict]:
    """Write five pictures of different sizes; each pixel's red is 40 times its label (0 to 3)."""
    rng = np.random.default_rng(0)
    dicts = []
    for i, (height, width) in enumerate([(20, 30), (30, 20), (24, 24), (18, 40), (40, 18)]):
        labels = rng.integers(0, 4, (height, width), dtype=np.uint8)
        rgb = np.stack([labels * 40, np.full_like(labels, 100), np.full_like(labels, i)], axis=2)
        paths = tmp_path / f"{i}.png", tmp_path / f"{i}_labels.png"
        Image.fromarray(rgb).save(paths[0])
        Image.fromarray(labels).save(paths[1])
        dicts.append({"file_name": str(paths[0]), "sem_seg_file_name": str(paths[1])})
    return dicts


@pytest.fixture
def pretend_world(monkeypatch: pytest.MonkeyPatch):
    """Give a function that makes this process one of several, for all that asks torch."""

    def pretend(world_size: int, rank: int) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda *args, **kwargs: world_size)
        monkeypatch.setattr(dist, "get_rank", lambda *args, **kwargs: rank)

    return pretend
