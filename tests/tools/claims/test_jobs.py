"""Claims: rows from jobs, and nothing computed twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIMS, Claim, Job, JobError, format_table, run_jobs
from claims import jobs as jobs_module

from ovseg_d2.config import load_config

CONFIG = "configs/maskclip.yaml"


@pytest.fixture
def evaluations(monkeypatch, request):
    """Replace evaluation by a counter: what was asked for, in order."""
    monkeypatch.chdir(request.config.rootpath)
    asked = []

    def evaluate(config_file, opts):
        asked.append((config_file, opts))
        return {"mIoU": 10.0 * len(asked)}

    monkeypatch.setattr(jobs_module, "evaluate_config", evaluate)
    return asked


def test_finished_job_is_not_run_again(evaluations, tmp_path):
    jobs = [Job("a", CONFIG), Job("b", CONFIG, ("TEST.CEILING", "patch"))]
    assert run_jobs(jobs[:1], tmp_path) == [{"mIoU": 10.0}]
    assert run_jobs(jobs, tmp_path) == [{"mIoU": 10.0}, {"mIoU": 20.0}]
    assert len(evaluations) == 2
    assert evaluations[1][1][:2] == ("TEST.CEILING", "patch")


def test_other_config_is_another_job(evaluations, tmp_path):
    run_jobs([Job("a", CONFIG)], tmp_path)
    run_jobs([Job("a", CONFIG, ("MODEL.CLIP.LAST_BLOCK.MLP", "True"))], tmp_path)
    assert len(evaluations) == 2


@pytest.mark.parametrize("opts", [("DATALOADER.NUM_WORKERS", "3"), ("MODEL.DEVICE", "meta")])
def test_device_and_workers_do_not_change_a_job(evaluations, tmp_path, opts):
    run_jobs([Job("a", CONFIG)], tmp_path)
    assert run_jobs([Job("a", CONFIG, opts)], tmp_path) == [{"mIoU": 10}]
    assert len(evaluations) == 1


@pytest.fixture
def elsewhere(monkeypatch):
    """Give a function of a config key and its default in another version, or another detectron2."""

    def change(key, value):
        def load(config_file, opts=()):
            cfg = load_config(config_file, opts)
            *nodes, name = key.split(".")
            node = cfg
            for each in nodes:
                node = node[each]
            if key not in opts:
                node[name] = value
            return cfg

        monkeypatch.setattr(jobs_module, "load_config", load)

    return change


def test_new_key_does_not_change_a_job(evaluations, elsewhere, tmp_path, caplog):
    run_jobs([Job("a", CONFIG)], tmp_path)
    elsewhere("MODEL.CLIP.OF_NEXT_YEAR", [1, 2])
    run_jobs([Job("a", CONFIG)], tmp_path)
    assert len(evaluations) == 1
    assert not caplog.records


def test_other_default_makes_a_result_outdated(evaluations, elsewhere, tmp_path, caplog):
    run_jobs([Job("a", CONFIG)], tmp_path)
    elsewhere("INPUT.MIN_SIZE_TEST", 77)
    for _ in range(2):
        assert run_jobs([Job("a", CONFIG)], tmp_path) == [{"mIoU": 20.0}]
    assert len(list(tmp_path.glob("*.json"))) == 1
    (record,) = caplog.records
    assert "another default of INPUT.MIN_SIZE_TEST; its job is run again" in record.getMessage()


def test_other_default_of_a_training_outdates_its_evaluations(
    evaluations, elsewhere, tmp_path, monkeypatch, caplog
):
    outputs = []

    def train(config_file, opts, output):
        outputs.append(output)
        output.mkdir(parents=True)
        (output / "model_final.pth").write_bytes(b"weights")
        return {"mIoU": 1.0}

    monkeypatch.setattr(jobs_module, "_train", train)
    training = Job("trained", "configs/clip.yaml", seed=3)
    after = Job("after", CONFIG, ("SOLVER.GAMMA", "0.7"), weights=(("MODEL.WEIGHTS", training),))
    run_jobs([after], tmp_path)
    kept = json.loads((tmp_path / f"{after.key()[:24]}.json").read_text())
    gammas = [config["SOLVER.GAMMA"] for config in kept["configs"]]
    assert gammas[0] == 0.7 and len(gammas) == 2
    elsewhere("SOLVER.GAMMA", 0.3)  # which the evaluation sets, and the training does not
    run_jobs([after], tmp_path)
    assert len(evaluations) == 2
    assert "another default of SOLVER.GAMMA" in caplog.messages[0]
    # It does not go on from checkpoints of the other default either.
    assert len(set(outputs)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:20],
        lambda text: "[" * 10**5,
        lambda text: "[1]",
        lambda text: text.replace('"configs": [', '"configs": [3, '),
        lambda text: text.replace('"numbers": {', '"numbers": 3, "other": {'),
    ],
    ids=["cut off", "deep", "a list", "no config", "no numbers"],
)
def test_damaged_result_is_computed_again(evaluations, tmp_path, damage):
    run_jobs([Job("a", CONFIG)], tmp_path)
    (kept,) = tmp_path.glob("*.json")
    kept.write_text(damage(kept.read_text()))
    assert run_jobs([Job("a", CONFIG)], tmp_path) == [{"mIoU": 20.0}]
    assert json.loads(kept.read_text())["numbers"] == {"mIoU": 20.0}


def test_narrowed_rows_and_options():
    training = Job("training", CONFIG, ("SOLVER.MAX_ITER", "7"), seed=0)
    claim = Claim(
        "title", (training, Job("after", CONFIG, weights=(("MODEL.WEIGHTS", training),))), {}
    )
    (job,) = claim.narrowed(["ft"], ["VIS_PERIOD", "3"]).jobs
    assert (job.row, job.opts) == ("after", ("VIS_PERIOD", "3"))
    assert job.weights[0][1].opts == ("SOLVER.MAX_ITER", "7", "VIS_PERIOD", "3")
    assert claim.narrowed([]) == claim
    more = Claim("title", (training, Job("training twice", CONFIG)), {})
    assert [job.row for job in more.narrowed(["training"]).jobs] == ["training"]
    assert [job.row for job in more.narrowed(["train"]).jobs] == ["training", "training twice"]
    with pytest.raises(ValueError, match=r"any of \['before'\]; the rows are \['training', "):
        claim.narrowed(["before"])


def test_interrupted_jobs_keep_finished_ones(evaluations, tmp_path, monkeypatch):
    counted = jobs_module.evaluate_config

    def interrupted(config_file, opts):
        if evaluations:
            raise KeyboardInterrupt
        return counted(config_file, opts)

    jobs = [Job("a", CONFIG), Job("b", CONFIG, ("TEST.CEILING", "patch"))]
    monkeypatch.setattr(jobs_module, "evaluate_config", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path)
    monkeypatch.setattr(jobs_module, "evaluate_config", counted)
    run_jobs(jobs, tmp_path)
    assert len(evaluations) == 2


def test_job_starts_from_a_training(evaluations, tmp_path, monkeypatch):
    trained = []

    def train(config_file, opts, output):
        trained.append((config_file, opts))
        output.mkdir(parents=True, exist_ok=True)
        (output / "model_final.pth").write_bytes(b"weights")
        return {"mIoU": 1.0}

    monkeypatch.setattr(jobs_module, "_train", train)
    training = Job("trained", "configs/clip.yaml", ("SOLVER.MAX_ITER", "7"), seed=3)
    after = Job("after", CONFIG, ("TEST.MAX_IMAGES", "5"), weights=(("MODEL.WEIGHTS", training),))
    assert run_jobs([after, training, after], tmp_path) == [
        {"mIoU": 10.0},
        {"mIoU": 1.0},
        {"mIoU": 10.0},
    ]
    assert len(trained) == len(evaluations) == 1
    opts = dict(zip(trained[0][1][::2], trained[0][1][1::2], strict=True))
    assert opts["SEED"] == "3" and opts["SOLVER.MAX_ITER"] == "7"
    given = dict(zip(evaluations[0][1][::2], evaluations[0][1][1::2], strict=True))
    assert given["MODEL.WEIGHTS"] == f"{opts['OUTPUT_DIR']}/model_final.pth"
    # Numbers are kept without weights, too; only what starts from them trains again.
    Path(given["MODEL.WEIGHTS"]).unlink()
    assert run_jobs([after, training], tmp_path) == [{"mIoU": 10.0}, {"mIoU": 1.0}]
    assert len(trained) == len(evaluations) == 1
    run_jobs([replace(after, opts=("TEST.MAX_IMAGES", "6"))], tmp_path)
    assert len(trained) == len(evaluations) == 2
    # Another seed of the training is another result of what follows.
    other = Job("trained", "configs/clip.yaml", ("SOLVER.MAX_ITER", "7"), seed=4)
    assert (
        Job("after", CONFIG, after.opts, weights=(("MODEL.WEIGHTS", other),)).key() != after.key()
    )


def test_run_jobs_names_the_command_that_failed(tmp_path, monkeypatch):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "train_net.py").write_text("import sys\nsys.exit(3)")
    monkeypatch.setattr(jobs_module, "ROOT", tmp_path)
    job = Job("a", "configs/clip.yaml", ("DATASETS.TRAIN", "('ovseg_nowhere',)"), seed=0)
    with pytest.raises(JobError, match=r"exit code 3: .*train_net.*ovseg_nowhere"):
        run_jobs([job], tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_corruption_curves_start_at_clean_images():
    claim = CLAIMS["corruptions"](split="dev")
    numbers = [{"mIoU_base_novel_own_words": float(i)} for i in range(len(claim.jobs))]
    (curves,) = claim.panels(numbers).values()
    for job, found in zip(claim.jobs[1:], numbers[1:], strict=True):
        name, level = job.row.rsplit(" ", 1)
        assert curves[name][int(level)] == (int(level), found["mIoU_base_novel_own_words"])
    assert all(points[0] == (0, 0.0) and len(points) == 6 for points in curves.values())
    part = claim.narrowed(["none", "fog"])
    (curves,) = part.panels(numbers[: len(part.jobs)]).values()
    assert curves == {"fog": [(level, float(level)) for level in range(6)]}
    assert CLAIMS["maskclip"]().panels([]) == {}


def test_format_table_averages_over_seeds():
    claim = Claim(
        "title",
        (Job("a", CONFIG, seed=0), Job("a", CONFIG, seed=1), Job("b", CONFIG)),
        {"mIoU": "mIoU", "missing": "none"},
    )
    table = format_table(claim, [{"mIoU": 10.0}, {"mIoU": 14.0}, {"mIoU": 7.25}])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["", "mIoU", "missing"]
    assert rows[2] == ["a", "12.0 ± 2.8", "-"]  # sample standard deviation: sqrt(8)
    assert rows[3] == ["b", "7.2", "-"]


@pytest.mark.parametrize("method", sorted(CLAIMS))
@pytest.mark.parametrize("split", ["dev", "val"])
def test_claims_are_valid_configs(method, split, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    claim = CLAIMS[method](split=split, seeds=2)
    keys = {job.key() for job in claim.jobs}
    assert len(keys) == len(claim.jobs)
    for job in claim.jobs:
        assert "python tools/train_net.py --config-file configs/" in job.command
        assert f"ovseg_shapes_{split}" in job.command


def test_lambda_sweep_is_one_job_and_a_row_per_lambda():
    claim = CLAIMS["ovseg_lambda"](split="dev", seeds=2)
    kinds = ("untuned CLIP", "mask-adapted CLIP", "prompts-first CLIP", "longer-adapted CLIP")
    assert [job.row for job in claim.jobs] == [kind for kind in kinds for _ in range(2)]
    lambdas = [i / 10 for i in range(11)]
    numbers = [
        {
            f"{key}_lambda_{lam:g}": 100 * lam + seed + 1000 * place
            for place, key in enumerate(claim.columns.values())
            for lam in lambdas
        }
        for seed in (0, 2, 20, 22, 30, 34, 40, 40)
    ]
    lines = format_table(claim, numbers).splitlines()[2:]
    names = [f"{kind}, lambda {lam}" for kind in kinds for lam in lambdas]
    assert [line.split("|")[1].strip() for line in lines] == names
    assert lines[3].split("|")[2].strip() == "31.0 ± 1.4"
    (curves,) = claim.panels(numbers).values()
    assert list(curves) == list(kinds)
    assert curves["untuned CLIP"][3] == (0.3, 31.0)
    assert curves["mask-adapted CLIP"][3] == (0.3, 51.0)
    assert curves["prompts-first CLIP"][3] == (0.3, 62.0)


def test_job_takes_weights_of_two_trainings(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    *_, job = (
        job
        for job in CLAIMS["ovseg"](split="val", seeds=1).jobs
        if job.row == "OVSeg with mask-adapted CLIP"
    )
    (first, training), (second, adapted) = job.weights
    assert (first, training.config_file) == ("MODEL.WEIGHTS", "configs/ovseg.yaml")
    assert (second, adapted.config_file) == (
        "MODEL.OVSEG.CLIP_WEIGHTS",
        "configs/ovseg_clip_ft_mpt.yaml",
    )
    assert job.command.endswith(
        "MODEL.WEIGHTS <OUTPUT_DIR of 'training'>/model_final.pth "
        "MODEL.OVSEG.CLIP_WEIGHTS <OUTPUT_DIR of 'FT, then MPT'>/model_final.pth"
    )
    assert job.command.count("\n  then ") == 4  # mining, two trainings of CLIP, one of OVSeg
