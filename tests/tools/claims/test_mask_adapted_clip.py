"""The claim of MaskAdaptedCLIP: its rows, what they start from, and data made before."""

from dataclasses import replace

import pytest
from claims import CLAIMS, Job, run_jobs
from claims import jobs as jobs_module

from ovseg_d2.config import load_config


@pytest.fixture
def claim(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    return CLAIMS["mask_adapted_clip"](split="dev", seeds=2)


def test_every_row_has_a_job_for_each_seed(claim):
    rows = [job.row for job in claim.jobs]
    assert rows[:2] == ["untuned", "untuned, background left in"]
    assert len(rows) == 2 + 2 * (5 + 4 + 2 * 3 + 4)
    depths = set()
    for number, job in enumerate(claim.jobs[2:]):
        cfg = load_config(job.config_file, job.words)
        assert cfg.TEST.TASK == "mask_crops" and list(cfg.DATASETS.TEST) == ["ovseg_shapes_dev"]
        ((key, training),) = job.weights
        assert (key, training.row, training.seed) == ("MODEL.WEIGHTS", job.row, number % 2)
        # What it trains on is what is made before.
        trained = load_config(training.config_file, training.words)
        folder = training.prepare[training.prepare.index("--output") + 1]
        assert list(trained.DATASETS.TRAIN) == [f"{folder}/pairs.jsonl"]
        named = [word for word in training.prepare if word.startswith("--mask-option")]
        assert len(named) == len(training.prepare_from) == ("proposals" in job.row)
        depth = trained.MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH
        assert depth == cfg.MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH
        if "then" in job.row:
            ((key, first),) = training.weights
            assert (key, first.seed) == ("MODEL.WEIGHTS", training.seed)
            assert job.row.startswith(first.row)
        else:
            assert training.weights == ()
            if job.row.startswith("MPT"):
                depths.add(depth)
    assert depths == {1, 2, 3, 4}


def test_prepare_runs_before_the_job_in_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = []
    monkeypatch.setattr(jobs_module, "evaluate_config", lambda *_: done.append("read") or {})
    tool = tmp_path / "make.py"
    tool.write_text("import sys; sys.exit(int(sys.argv[1]))")
    job = Job("a", "configs/maskclip.yaml", prepare=(str(tool), "0"))
    assert run_jobs([job], tmp_path) == [{}] and done == ["read"]
    assert job.command.startswith(f"python {tool} 0\n  then python tools/train_net.py")
    bad = Job("a", "configs/maskclip.yaml", prepare=(str(tool), "3"))
    with pytest.raises(RuntimeError, match="preparing data failed with exit code 3: "):
        run_jobs([bad], tmp_path)
    assert done == ["read"]


def test_prepare_may_start_from_a_training(monkeypatch, request, tmp_path):
    monkeypatch.chdir(request.config.rootpath)
    commands = []
    monkeypatch.setattr(jobs_module, "_run", lambda command, *_: commands.append(command))
    monkeypatch.setattr(jobs_module, "evaluate_config", lambda *_: {})
    for name in ("numbers_of", "read_results", "read_curves"):
        monkeypatch.setattr(jobs_module, name, lambda *_: {})
    first = Job("first", "configs/clip.yaml", seed=1)
    make = ("make.py", "--option")
    job = Job("a", "configs/maskclip.yaml", prepare=make, prepare_from=(("weights=", first),))
    run_jobs([job], tmp_path)
    trained, made = commands
    weights = trained[trained.index("OUTPUT_DIR") + 1] + "/model_final.pth"
    assert made == ["make.py", "--option", f"weights={weights}"]
    assert job.command.splitlines()[1] == (
        "  then python make.py --option weights=<OUTPUT_DIR of 'first'>/model_final.pth"
    )
    # Another training makes other data.
    other = replace(job, prepare_from=(("weights=", replace(first, seed=2)),))
    further = job.with_opts(["VIS_PERIOD", "3"])
    assert further.prepare_from[0][1].opts == ("VIS_PERIOD", "3")
    assert len({job.key(), other.key(), further.key()}) == 3
