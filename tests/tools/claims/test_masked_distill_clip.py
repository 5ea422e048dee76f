"""The table of masked self-distillation: equal conditions, its columns, its curves."""

import json

import pytest
from claims import CLAIMS, format_table
from claims import jobs as jobs_module

from ovseg_d2.config import load_config
from ovseg_d2.engine.run import evaluate_config


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_rows_differ_only_in_the_objective():
    claim = CLAIMS["masked_distill_clip"](seeds=2)
    assert len(claim.jobs) == 12 and {job.seed for job in claim.jobs} == {0, 1}
    configs = [load_config(job.config_file, job.words) for job in claim.jobs]
    targets = []
    for job, cfg in zip(claim.jobs, configs, strict=True):
        options = cfg.MODEL.MASKED_DISTILL
        if cfg.MODEL.META_ARCHITECTURE == "MaskedDistillCLIP":
            targets.append((options.TARGET, options.WEIGHT, options.LANGUAGE.WEIGHT))
            assert options.MASK_RATIO == 0.75
        assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.TEST.MAX_IMAGES) == (job.seed, 1500, 0)
        for node in ("SOLVER", "INPUT", "TEST", "DATASETS"):
            assert cfg[node] == configs[0][node], (job.row, node)
        for node in ("CLIP", "CLIP_PRETRAIN", "TEXT"):
            assert cfg.MODEL[node] == configs[0].MODEL[node], (job.row, node)
    expected = [
        *((target, 1.0, 0.0) for target in ("pixels", "student", "teacher")),
        ("teacher", 1.0, 1.0),
        ("teacher", 0.05, 0.0),
    ]
    assert targets[::2] == targets[1::2] == expected


def test_training_gives_numbers_of_all_datasets_and_curves(tmp_path, monkeypatch):
    claim = CLAIMS["masked_distill_clip"](split="dev", seeds=1)
    job = claim.jobs[0]
    names = load_config(job.config_file, job.words).DATASETS.TEST
    monkeypatch.setattr(jobs_module.subprocess, "run", lambda *_, **__: _Done())
    results = {name: {"accuracy": 10.0 + i, "images": 5} for i, name in enumerate(names)}
    (tmp_path / "results.json").write_text(json.dumps(results))
    lines = [
        {"iteration": 249, f"{names[1]}/classification/accuracy_base": 3.0},
        {"iteration": 250, f"{names[0]}/sem_seg/IoU-red star": 1.0, "total_loss": 2.0},
        {"iteration": 499, f"{names[1]}/classification/accuracy_base": 5.0},
    ]
    (tmp_path / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = jobs_module._train(job.config_file, job.words, tmp_path)
    assert found[f"{names[3]}/accuracy"] == 13.0
    assert found["curves"] == {f"{names[1]}/classification/accuracy_base": [(249, 3.0), (499, 5.0)]}
    drawn = claim.panels([found] * len(claim.jobs))
    (panel,) = drawn  # none of what was not measured
    assert panel.startswith("accuracy of crops") and len(drawn[panel]) == 6
    assert drawn[panel]["CLIPPretrain"] == [(249, 3.0), (499, 5.0)]


class _Done:
    returncode = 0


def test_curves_are_means_over_seeds():
    claim = CLAIMS["masked_distill_clip"](split="dev", seeds=2)
    name = "ovseg_shapes_dev/sem_seg/mIoU_base_novel_own_words"
    numbers = [{"curves": {name: [[249, float(job.seed)]]}} for job in claim.jobs]
    (drawn,) = claim.panels(numbers).values()
    assert [points[0] for points in drawn.values()] == [(249, 0.5)] * 6


def test_every_column_is_measured(tiny_opts, tmp_path):
    claim = CLAIMS["masked_distill_clip"](split="dev", seeds=1)
    job = claim.jobs[0]
    few = (*tiny_opts, "TEST.MAX_IMAGES", "24", "OUTPUT_DIR", str(tmp_path / "output"))
    numbers = evaluate_config(job.config_file, (*job.opts, *few))
    assert set(claim.columns.values()) <= set(numbers)
    table = format_table(claim, [numbers] * len(claim.jobs)).splitlines()
    assert len(table) == 2 + 6 and "-" not in table[2].split("|")[2:-1]
