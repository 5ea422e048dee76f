"""The command: every source, shares of a job, a kill in the middle, and bad input."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import segmentation

from ovseg_d2.masks import mask_file_name, read_info, read_masks

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "generate_masks.py"
tool = runpy.run_path(str(TOOL), run_name="generate_masks")


@pytest.fixture
def generate(tmp_path):
    """A function that runs the command; the value is the exit code."""

    def run(source: str, *images: object, options: tuple = (), more: tuple = ()) -> int:
        argv = ["--source", source, "--output", tmp_path / "out", "--device", "cpu", *more]
        argv += ["--images", *images, "--options", *options]
        return tool["main"]([str(word) for word in argv])

    return run


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of three images, the second of them no image."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ac":
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"no image")
    return folder


def test_bad_image_is_reported_and_left_out(generate, images, tmp_path, capsys):
    assert generate("felzenszwalb", images, options=("scale=50", "min_size=5")) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "c.json"]
    assert (read_masks(tmp_path / "out" / "a.json", (20, 30)).sum(axis=0) == 1).all()
    assert read_info(tmp_path / "out" / "a.json")["scale"] == 50
    out, errors = capsys.readouterr()
    assert f"masks of 2 of 3 images, a file for each: {tmp_path / 'out'}" in out
    assert "left out: cannot read" in errors
    assert "1 of 3 images have no masks" in errors
    Image.new("RGB", (4, 4)).save(images / "b.png")
    assert generate("felzenszwalb", images, options=("scale=50", "min_size=5")) == 0
    assert read_masks(tmp_path / "out" / "b.json", (4, 4)).all()


def test_dino_and_shapes(generate, tmp_path):
    options = ("model=vit_tiny_patch16_224", "weights=random", "num_clusters=3", "size=32")
    assert generate("dino", "shapes://dev/0/0-1", options=options) == 0
    assert read_masks(tmp_path / "out" / "shapes_dev_0_1.json").shape == (3, 96, 96)
    assert generate("shapes", "shapes://val/0/4") == 0


@pytest.mark.parametrize(
    ("source", "images", "options", "words"),
    [
        ("shapes", "none.png", (), "error: cannot read none.png: there is no such file"),
        ("shapes", "shapes://dev/0/5", ("scale=3",), "'shapes' has no option 'scale'"),
        ("sam", "shapes://dev/0/5", (), "mask source 'sam' needs the option 'checkpoint'"),
        ("sam", "shapes://dev/0/5", ("checkpoint=n.pth",), "there is no SAM checkpoint 'n.pth'"),
        ("felzenszwalb", "shapes://dev/0/5", ("scale=big",), "does not take .*'big'"),
    ],
)
def test_bad_input_is_one_sentence(generate, source, images, options, words):
    with pytest.raises(SystemExit, match=words) as end:
        generate(source, images, options=options)
    assert end.value.code.startswith("error: ")
    assert "\n" not in end.value.code


def test_unsupported_device(generate):
    with pytest.raises(SystemExit, match="^error: --device 'xpu' is not there: ") as end:
        generate("felzenszwalb", "shapes://dev/0/5", more=("--device", "xpu"))
    assert "\n" not in end.value.code


@pytest.mark.parametrize(
    "argv", [["--source", "stored"], ["--source", "shapes", "--options", "scale"]]
)
def test_bad_command_lines(argv):
    with pytest.raises(SystemExit) as end:
        tool["main"]([*argv, "--images", "a", "--output", "b"])
    assert end.value.code == 2


@pytest.mark.slow
def test_killed_run_is_resumed(generate, tmp_path, environment):
    out = tmp_path / "out"
    words = [sys.executable, TOOL, "--source", "felzenszwalb", "--images", "shapes://dev/0/0-149"]
    child = subprocess.Popen([*words, "--output", out], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while len(list(out.glob("*.json"))) < 3 and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    made = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert 3 <= len(made) < 150
    assert all(len(read_masks(path, (96, 96))) for path in made)
    assert generate("felzenszwalb", "shapes://dev/0/0-149") == 0
    assert len(os.listdir(out)) == 150
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.slow
@pytest.mark.parametrize("start", ["launch", "torchrun"])
def test_processes_share_the_work(tmp_path, images, environment, start):
    out = tmp_path / "out"
    words = [str(TOOL), "--source", "shapes", "--images", "shapes://dev/0/0-6", "--output", out]
    if start == "launch":
        command = [sys.executable, *words, "--num-gpus", "2"]
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", "2", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(list(out.iterdir())) == 7
    assert "4/4" in done.stderr  # the first process's share


def test_image_too_large_for_memory_is_left_out(generate, tmp_path, capsys, monkeypatch):
    """Whatever makes the masks."""
    for name, side in (("a", 20), ("b", 30)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    cut = segmentation.felzenszwalb

    def segment(image, **options):
        if len(image) == 30:
            np.empty(10**13)
        return cut(image, **options)

    monkeypatch.setattr(segmentation, "felzenszwalb", segment)
    assert generate("felzenszwalb", tmp_path / "a.png", tmp_path / "b.png") == 1
    errors = capsys.readouterr().err
    assert f"left out: {tmp_path / 'b.png'}: it needs more memory" in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]


def test_longest_names_get_masks(generate, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for letter in "ab":
        Image.new("RGB", (20, 20)).save(folder / ("x" * 250 + letter + ".png"))
    assert generate("felzenszwalb", folder) == 0
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {mask_file_name(path) for path in folder.iterdir()} and len(found) == 2
