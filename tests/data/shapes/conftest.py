"""Scenes that several tests share."""

import pytest

from ovseg_d2.data.shapes import SPLITS, Scene, render_scene

_NUM_SCENES = {"train": 400, "dev": 150, "val": 50}


@pytest.fixture(scope="session")
def scenes() -> dict[str, list[Scene]]:
    """The first scenes of each split, seed 0."""
    return {s: [render_scene(s, 0, i) for i in range(_NUM_SCENES[s])] for s in SPLITS}
