"""Datasets that exist during a test."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog

_names = (f"ovseg_d2_data_test_{number}" for number in itertools.count())


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """A function that registers dataset dicts under a new name until the end of the test."""
    registered = []

    def register(dicts: list[dict[str, Any]], **metadata: Any) -> str:
        name = next(_names)
        registered.append(name)
        DatasetCatalog.register(name, lambda: dicts)
        MetadataCatalog.get(name).set(**metadata)
        return name

    yield register
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
