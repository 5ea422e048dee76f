"""Segmentation: shares, masks, and its files."""

import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

from ovseg_d2 import files
from ovseg_d2.files import WriteError
from ovseg_d2.viz import Heatmaps, Segmentation
from ovseg_d2.vocab import Vocabulary


@pytest.fixture
def segmentation():
    labels = np.array([[0, 0, 0, 2], [0, 2, 0, 0]])
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    return Segmentation(image, labels, Vocabulary.from_names(["sky", "sea", "sand"]))


def test_shares_and_mask(segmentation):
    assert list(segmentation.shares.items()) == [("sky", 0.75), ("sand", 0.25)]
    assert np.array_equal(segmentation.mask("Sand"), segmentation.labels == 2)
    assert not segmentation.mask("sea").any()
    with pytest.raises(ValueError, match="'tree' is not a class"):
        segmentation.mask("tree")


def test_save(segmentation, tmp_path):
    paths = segmentation.save(tmp_path / "new", "name")
    assert {key: path.name for key, path in paths.items()} == {
        "overlay": "name_overlay.png",
        "labels": "name_labels.png",
        "json": "name.json",
    }
    assert {path.name for path in (tmp_path / "new").iterdir()} == {p.name for p in paths.values()}
    with Image.open(paths["labels"]) as labels:
        assert np.array_equal(np.asarray(labels), segmentation.labels)
    with Image.open(paths["overlay"]) as overlay, segmentation.overlay() as drawn:
        assert np.array_equal(np.asarray(overlay), np.asarray(drawn))
    assert json.loads(paths["json"].read_text()) == {
        "height": 2,
        "width": 4,
        "classes": ["sky", "sea", "sand"],
        "shares": {"sky": 0.75, "sand": 0.25},
    }


def test_save_with_heatmaps(segmentation, tmp_path):
    values = np.array([[0, 1, 0, 0], [0, 0, 0.5, 0.5]], np.float32)
    heatmaps = Heatmaps(segmentation.image, {"sky": values, "salt sea": 1 - values}, "probability")
    paths = segmentation.save(tmp_path, "name", heatmaps=heatmaps)
    files = {"name_heatmap_sky.png", "name_heatmap_salt-sea.png"}
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in paths.values()} | files
    summary = json.loads(paths["json"].read_text())
    assert summary["shares"] == {"sky": 0.75, "sand": 0.25}
    sky, sea = ("name_heatmap_sky.png", "name_heatmap_salt-sea.png")
    assert summary["heatmaps"] == {
        "measure": "probability",
        "words": {
            "sky": {"file": sky, "min": 0.0, "max": 1.0, "mean": 0.25},
            "salt sea": {"file": sea, "min": 0.0, "max": 1.0, "mean": 0.75},
        },
    }


def test_save_on_a_full_disk(segmentation, tmp_path, monkeypatch):
    segmentation.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteError, match="cannot write .*_overlay.png: the disk is full"):
        segmentation.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
