"""The report of a training's clusters: its two files, and when there is none."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch

from ovseg_d2.engine import cluster_report
from ovseg_d2.engine.cluster_report import ReportClusters, write_cluster_report
from ovseg_d2.files import WriteError
from ovseg_d2.plugin import ClusterDescription

CLUSTERS = [
    ClusterDescription(2, 3.25, (("red star", 0.5), ("a|b", 0.25))),
    ClusterDescription(0, 0.0, ()),
]


class Model:
    """Stands in for the meta-architecture."""

    def describe_clusters(self):
        return CLUSTERS


def hook_of(folder, monkeypatch, *, iteration=10, model=None):
    monkeypatch.setattr(cluster_report, "PixelCLIP", Model)
    hook = ReportClusters(str(folder))
    hook.trainer = SimpleNamespace(iter=iteration, max_iter=10, model=model or Model())
    return hook


def test_write_cluster_report(tmp_path):
    path = write_cluster_report(tmp_path, CLUSTERS)
    assert path == tmp_path / "clusters.md"
    assert path.read_text().splitlines()[-4:] == [
        "| cluster | masks a batch | nearest words |",
        "|---:|---:|---|",
        "| 2 | 3.25 | red star (0.50), a\\|b (0.25) |",
        "| 0 | 0.00 |  |",
    ]
    assert json.loads((tmp_path / "clusters.json").read_text()) == [
        {"cluster": 2, "masks": 3.25, "words": [["red star", 0.5], ["a|b", 0.25]]},
        {"cluster": 0, "masks": 0.0, "words": []},
    ]


def test_report_is_written_at_the_end_of_training(tmp_path, monkeypatch):
    hook_of(tmp_path, monkeypatch, iteration=7).after_train()
    hook_of(tmp_path, monkeypatch, model=torch.nn.Identity()).after_train()
    assert list(tmp_path.iterdir()) == []
    hook_of(tmp_path, monkeypatch).after_train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clusters.json", "clusters.md"]


def test_no_report_without_clusters(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "describe_clusters", lambda self: [])
    hook_of(tmp_path, monkeypatch).after_train()
    assert list(tmp_path.iterdir()) == []


def test_unwritable_report_does_not_end_training(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        hook_of(tmp_path / "file", monkeypatch).after_train()
    assert "there is no report of the clusters" in caplog.text
    with pytest.raises(WriteError):
        write_cluster_report(tmp_path / "file", CLUSTERS)
