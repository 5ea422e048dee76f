"""Preparation of a job, on either provider."""

import random
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.engine import default_setup


@pytest.fixture(autouse=True)
def _restored_switches(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    # Written by the seeding; known to monkeypatch so that it is taken back.
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def test_job_writes_config_and_log(line_cfg, tmp_path, capsys):
    config_file = tmp_path / "mine.yaml"
    config_file.write_text("SOLVER: {BASE_LR: 0.125}\n")
    default_setup(line_cfg, Namespace(config_file=str(config_file), eval_only=False))
    written = Path(line_cfg.OUTPUT_DIR, "config.yaml")
    assert written.read_text() == line_cfg.dump()
    again = get_cfg()
    again.merge_from_file(str(written))
    assert again.SOLVER == line_cfg.SOLVER

    for log in (Path(line_cfg.OUTPUT_DIR, "log.txt").read_text(), capsys.readouterr().out):
        assert "Rank of current process: 0. World size: 1" in log
        assert "Environment info:" in log
        assert "Command line arguments: Namespace(config_file=" in log
        assert f"Contents of args.config_file={config_file}:" in log
        assert "Running with full config:" in log


def test_seed_makes_numbers_repeat(line_cfg):
    def draw(seed: int) -> tuple[float, float, float]:
        line_cfg.SEED = seed
        default_setup(line_cfg, Namespace())
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    assert draw(7) == draw(7)
    assert all(a != b for a, b in zip(draw(7), draw(8), strict=True))


def test_negative_seed_is_drawn(line_cfg, library_log):
    line_cfg.SEED = -1
    default_setup(line_cfg, Namespace())
    assert any(line.startswith("Using a generated random seed") for line in library_log())


@pytest.mark.parametrize("eval_only", [False, True])
def test_benchmarking_is_for_training(line_cfg, eval_only):
    line_cfg.CUDNN_BENCHMARK = True
    default_setup(line_cfg, Namespace(eval_only=eval_only))
    assert torch.backends.cudnn.benchmark is not eval_only
