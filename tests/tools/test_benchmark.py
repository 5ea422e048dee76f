"""The tool behind docs/results.md: what it prints, draws and refuses, with no job run anew."""

import json
import runpy
import shlex
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIMS, Job, JobError, format_table
from claims import jobs as jobs_module

TOOL = Path(__file__).resolve().parents[2] / "tools" / "benchmark.py"
tool = runpy.run_path(str(TOOL), run_name="benchmark")

DISTILLED = ("claims", "masked_distill_clip", "--output", "results", "--rows", "target: pixels")


@pytest.fixture
def run_tool(request, monkeypatch):
    """Run the tool with words of a command line; it may run no job."""
    monkeypatch.chdir(request.config.rootpath)

    def refuse(*_):
        raise AssertionError("a job is to be run")

    monkeypatch.setattr(jobs_module, "_train", refuse)
    monkeypatch.setattr(jobs_module, "evaluate_config", refuse)

    return lambda *words: tool["main"]([str(word) for word in words])


def rows_of(text):
    """All rows of all Markdown tables, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("method", "words", "rows"),
    [
        (
            "masked_distill_clip",
            ["--rows", "CLIPPretrain", "--rows", "target", "--rows", "masked words"],
            5,
        ),
        ("maskclip_plus", ["--rows", "MaskCLIP+, zero-shot, self-training"], 1),
        (
            "maskclip_plus",
            ["--rows", "MaskCLIP+'s network", "--opts", "SOLVER.AMP.ENABLED", "True"],
            1,
        ),
    ],
)
def test_results_page_shows_kept_numbers(run_tool, request, capsys, method, words, rows):
    run_tool("claims", method, "--output", "results", *words)
    printed = [row for row in rows_of(capsys.readouterr().out) if "±" in row[1]]
    assert len(printed) == rows
    shown = rows_of((request.config.rootpath / "docs/results.md").read_text(encoding="utf-8"))
    for row in printed:
        assert row in shown


def test_results_page_has_every_row_with_three_kept_seeds(request):
    kept = defaultdict(dict)
    for path in (request.config.rootpath / "results").glob("*.json"):
        result = json.loads(path.read_text())
        kept[result["row"]][result["seed"]] = result["numbers"]
    shown = [row[1:] for row in rows_of((request.config.rootpath / "docs/results.md").read_text())]
    complete = {row: seeds for row, seeds in kept.items() if len(seeds) == 3}
    assert len(complete) > 5
    for row, seeds in complete.items():
        claims = [build() for build in CLAIMS.values()]
        claim = next(claim for claim in claims if row in {job.row for job in claim.jobs})
        jobs = tuple(Job(row, "", (), seed) for seed in seeds)
        table = rows_of(format_table(replace(claim, jobs=jobs), list(seeds.values())))
        assert table[-1][1:] in shown, row


def test_kept_results_are_of_current_jobs(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    paths = sorted((request.config.rootpath / "results").glob("*.json"))
    assert paths
    for path in paths:
        kept = json.loads(path.read_text())
        _, _, _, config_file, *words = shlex.split(kept["command"])
        *opts, _, seed = words
        job = Job(kept["row"], config_file, tuple(opts), int(seed))
        assert job.key()[:24] == path.stem, f"{kept['row']}, seed {seed}: run it anew, or leave out"
        assert jobs_module._read(path, job) == kept, f"{kept['row']}, seed {seed}: run it anew"


def test_numbers_and_curves_become_files(run_tool, tmp_path, capsys):
    run_tool(*DISTILLED, "--json", tmp_path / "a" / "n.json", "--plot", tmp_path / "curves.png")
    numbers = json.loads((tmp_path / "a" / "n.json").read_text())
    assert [(each["row"], each["seed"]) for each in numbers] == [
        ("target: pixels", seed) for seed in (0, 1, 2)
    ]
    assert numbers[1]["command"] in capsys.readouterr().out
    assert numbers[0]["ovseg_shapes_val/mIoU"] > 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*DISTILLED[:2], "--opts", "SEED", "1", "--output", "x"), "--output follows a config key"),
        ((*DISTILLED[:2], "--rows", "CLIPS"), "no row's name contains any of"),
        (("claims", "ovseg", "--plot", "x.png"), "has no curves; leave it out"),
        (("claims", "oveg"), "invalid choice: 'oveg'"),
    ],
)
def test_bad_input_is_a_sentence(run_tool, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        run_tool(*words)
    assert message in capsys.readouterr().err + str(stopped.value.code)


def test_missing_trainings_are_listed_and_not_started(run_tool, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run_tool("claims", "pixelclip", "--output", tmp_path, "--rows", "felzenszwalb")
    assert stopped.value.code.splitlines() == [
        f"{tmp_path} lacks 3 trainings for this table:",
        "  PixelCLIP, masks of felzenszwalb: 3 trainings of 300 steps",
        "They take some 16 minutes of CPU time; add --run to train, or choose rows that are kept "
        "(--rows)",
    ]
    # What a training starts from is one too, once for all that start from it.
    words = ("ovseg_lambda", "--rows", "prompts-first", "--seeds", "1")
    with pytest.raises(SystemExit) as stopped:
        run_tool("claims", *words, "--output", tmp_path)
    told = stopped.value.code.splitlines()
    assert told[0].endswith("lacks 3 trainings for this table:")
    assert "hour" in told[-1] or "minutes" in told[-1]
    assert not list(tmp_path.iterdir())


def test_failed_training_is_a_sentence(run_tool, monkeypatch, tmp_path):
    def fail(*_):
        raise JobError("training failed with exit code 1: python tools/train_net.py; its log is in")

    monkeypatch.setattr(jobs_module, "_train", fail)
    with pytest.raises(SystemExit, match="^error: training failed with exit code 1"):
        run_tool(*DISTILLED[:2], "--output", tmp_path, "--run")
