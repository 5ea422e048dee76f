"""The command: pairs that train, a kill in the middle, processes, and bad input."""

import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ovseg_d2.masks import read_pairs

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "mine_pairs.py"
tool = runpy.run_path(str(TOOL), run_name="mine_pairs")
CONFIG = ("--config-file", str(ROOT / "configs" / "ovseg_clip.yaml"))


@pytest.fixture
def mine(tmp_path):
    """A function that runs the command; the value is the exit code."""

    def run(*words: object, images: str = "shapes://train/0/0-5") -> int:
        argv = ["--images", images, "--output", tmp_path / "out", *CONFIG, *words]
        return tool["main"]([str(word) for word in (*argv, "MODEL.DEVICE", "cpu")])

    return run


def test_command_prints_its_summary(mine, tmp_path, capsys):
    assert mine() == 0
    pairs = read_pairs(tmp_path / "out" / "pairs.jsonl").pairs
    shown = capsys.readouterr().out
    assert shown.startswith(f"{len(pairs)} pairs of ") and "\nmost common: " in shown
    assert shown.endswith(f"\npairs: {tmp_path / 'out' / 'pairs.jsonl'}\n")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["pairs"] == len(pairs)
    assert mine() == 0 and capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--captions", "gone.json"), "cannot read captions from gone.json: there is no such file"),
        (("--nouns", "classes"), "masks='shapes' have no classes"),
        (("--masks", "stored"), "mask source 'stored' needs the option 'folder'"),
        (("--masks", "felzenszwalb", "--mask-option", "size=3"), "has no option 'size'"),
        (("--tagger-option", "model=x"), "tagger 'hanta' has no option 'model'"),
        (("--num-gpus", "0"), "starts no process"),
    ],
)
def test_bad_input_is_one_sentence(mine, words, told):
    with pytest.raises(SystemExit) as end:
        mine(*words)
    assert end.value.code.startswith("error: ") and told in end.value.code
    assert "\n" not in end.value.code


def test_bad_command_lines(mine, capsys):
    for words in (("--masks", "cookie"), ("--mask-option", "folder"), ("SEED", "1", "--nouns")):
        with pytest.raises(SystemExit) as end:
            mine(*words)
        assert end.value.code == 2
    assert "--nouns follows a config key" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_run_is_resumed(mine, tmp_path, environment):
    out, images = tmp_path / "out", "shapes://train/0/0-255"
    truth = ("--masks", "labels", "--nouns", "classes")
    words = [sys.executable, str(TOOL), *CONFIG, *truth, "--images", images, "--output", str(out)]
    words += ["MODEL.DEVICE", "cpu"]
    child = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(out.glob("parts/*.jsonl")) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    made = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.jsonl")}
    assert 1 <= len(made) < 4 and not (out / "pairs.jsonl").exists()
    assert mine(*truth, images=images) == 0
    assert len({pair.image for pair in read_pairs(out / "pairs.jsonl").pairs}) > 200
    assert sorted(path.name for path in out.iterdir()) == ["pairs.jsonl", "summary.json"]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["launch", "torchrun"])
def test_processes_share_the_work(mine, tmp_path, environment, start):
    truth = ["--masks", "labels", "--nouns", "classes", "--images", "shapes://train/0/0-129"]
    words = [str(TOOL), *CONFIG, *truth, "--output", str(tmp_path / "two")]
    if start == "launch":
        command = [sys.executable, *words, "--num-gpus", "2"]
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", "2", *words]
    command += ["MODEL.DEVICE", "cpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pairs of") == 1
    assert "66/66" in done.stderr  # the first process's share: parts 0 and 2
    assert mine(*truth[:4], images=truth[5]) == 0
    alone = (tmp_path / "out" / "pairs.jsonl").read_text()
    assert (tmp_path / "two" / "pairs.jsonl").read_text() == alone
