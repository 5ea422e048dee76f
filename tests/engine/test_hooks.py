"""Seeds of steps, the plot of scores, and the file it is drawn from."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch

from ovseg_d2.engine import hooks
from ovseg_d2.engine.hooks import PlotScores, SeedEachStep, drop_unfinished_line, read_curves
from ovseg_d2.files import WriteError


def draws(seed: int, iteration: int, rank: int = 0, monkeypatch=None) -> list[float]:
    if monkeypatch is not None:
        monkeypatch.setattr(hooks.comm, "get_rank", lambda: rank)
    hook = SeedEachStep(seed)
    hook.trainer = SimpleNamespace(iter=iteration)
    hook.before_step()
    return torch.rand(4).tolist()


def test_seed_each_step_depends_on_seed_iteration_and_rank(monkeypatch):
    first = draws(3, 10)
    torch.rand(100)
    assert draws(3, 10) == first
    all_of_them = [
        tuple(draws(seed, iteration, rank, monkeypatch))
        for seed in (0, 1, 2)
        for iteration in (0, 1, 4096)
        for rank in (0, 1, 7)
    ]
    assert len(set(all_of_them)) == 27


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_seed_each_step_takes_any_seed(seed):
    assert draws(seed, 10**6) == draws(seed, 10**6)


def write_metrics(path, *lines):
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )


def test_read_curves_of_a_resumed_run(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(
        path,
        {"iteration": 19, "total_loss": 1.0},
        {"iteration": 9, "sem_seg/mIoU": 3.0, "sem_seg/IoU-x": 5.0},
        {"iteration": 19, "sem_seg/mIoU": 4.0, "sem_seg/mIoU_novel": float("nan")},
        '{"iteration": 2',
        {"iteration": 19, "sem_seg/mIoU": 4.5, "sem_seg/mIoU_novel": 1.0},
    )
    assert read_curves(path, "mIoU") == {
        "sem_seg/mIoU": [(9, 3.0), (19, 4.5)],
        "sem_seg/mIoU_novel": [(19, 1.0)],
    }
    assert read_curves(tmp_path / "nothing.json", "mIoU") == {}


def test_read_curves_skips_damaged_lines(tmp_path):
    path = tmp_path / "metrics.json"
    good = b'{"iteration": 9, "sem_seg/mIoU": 3.0}'
    bad = [b'{"iteration": 9, "mIoU\xff": 1}', b"[" * 10**5, b"[1]", b"3", b'{"mIoU": 1.0}']
    bad += [b'{"iteration": "x", "mIoU": 1}', b'{"iteration": 8, "mIoU": "x"}']
    bad += [b'{"iteration": 8, "mIoU": 1' + b"0" * 400 + b"}", b'{"iteration": 8, "mIoU": NaN}']
    path.write_bytes(b"\n".join([*bad, good]))
    assert read_curves(path, "mIoU") == {"sem_seg/mIoU": [(9, 3.0)]}


def test_drop_unfinished_line(tmp_path):
    path = tmp_path / "metrics.json"
    drop_unfinished_line(path)
    assert not path.exists()
    for content, left in [("a\nbc\nde", "a\nbc\n"), ("a\n", "a\n"), ("abc", ""), ("", "")]:
        path.write_text(content)
        drop_unfinished_line(path)
        assert path.read_text() == left


def hook_at(folder, period, iteration):
    hook = PlotScores(str(folder), period)
    hook.trainer = SimpleNamespace(iter=iteration)
    return hook


def test_plot_scores_draws_after_evaluations(tmp_path):
    plot = tmp_path / "scores.png"
    hook_at(tmp_path, 2, 1).after_step()
    assert not plot.exists()  # there is nothing to draw yet
    write_metrics(tmp_path / "metrics.json", {"iteration": 1, "sem_seg/mIoU": 3.0})
    hook_at(tmp_path, 2, 2).after_step()
    hook_at(tmp_path, 0, 1).after_step()
    assert not plot.exists()
    hook_at(tmp_path, 2, 1).after_step()
    assert plot.read_bytes().startswith(b"\x89PNG")
    plot.unlink()
    hook_at(tmp_path, 0, 5).after_train()
    assert plot.exists()


def test_unwritable_plot_does_not_end_training(tmp_path, monkeypatch, caplog):
    write_metrics(tmp_path / "metrics.json", {"iteration": 1, "sem_seg/mIoU": 3.0})

    def fail(*_, **__):
        raise WriteError(28, "cannot write scores.png: the disk is full", "scores.png")

    monkeypatch.setattr(hooks, "plot_curves", fail)
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        hook_at(tmp_path, 0, 1).after_train()
    assert "the disk is full; the training goes on without the plot" in caplog.text
