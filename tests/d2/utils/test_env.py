"""All generators are seeded together."""

import random
import sys

import numpy as np
import pytest
import torch

from ovseg_d2.d2.engine import default_setup

seed_all_rng = sys.modules[default_setup.__module__].seed_all_rng


@pytest.fixture(autouse=True)
def _restored_hash_seed(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(()).item()]


def test_same_seed_same_numbers():
    seed_all_rng(11)
    first = draw()
    seed_all_rng(11)
    assert draw() == first
    seed_all_rng(12)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_without_a_seed_numbers_differ():
    seed_all_rng()
    first = draw()
    seed_all_rng()
    assert all(a != b for a, b in zip(draw(), first, strict=True))
