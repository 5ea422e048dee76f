"""The demo: one image or many, any words, and one sentence for every kind of bad input."""

import errno
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2 import files, image_errors
from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.segmenter import Segmenter
from ovseg_d2.systems import PixelScorer

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "demo.py"
tool = runpy.run_path(str(TOOL), run_name="demo")


@pytest.fixture
def demo(tmp_path, tiny_opts):
    """A function that runs the demo on the tiny model; the value is the exit code."""

    def run(
        *inputs: object,
        classes: str | None = "red star, grass",
        flags: tuple = (),
        opts: tuple = (),
    ) -> int:
        words = [] if classes is None else ["--classes", classes]
        argv = ["--input", *inputs, *words, "--output", tmp_path / "out", *flags]
        return tool["main"]([*(str(word) for word in argv), "--opts", *tiny_opts, *opts])

    return run


@pytest.fixture
def refused(demo):
    """The same, giving the sentence it ends with, after checking that it is one."""

    def run(*inputs: object, **options: object) -> str:
        with pytest.raises(SystemExit) as end:
            demo(*inputs, **options)
        assert isinstance(end.value.code, str), "exit code 1 comes with a sentence"
        assert end.value.code.startswith("error: ") and "\n" not in end.value.code
        return end.value.code

    return run


@pytest.fixture
def never_built(monkeypatch):
    """Fail where a model is built, for what must be refused before."""

    def fail(*_, **__):
        raise AssertionError("a model was built first")

    monkeypatch.setattr(Segmenter, "__init__", fail)


def write_image(path: Path, height: int = 16, width: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def outputs(tmp_path: Path) -> set[str]:
    folder = tmp_path / "out"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_one_image(demo, tmp_path, capsys):
    path = write_image(tmp_path / "one.png")
    assert demo(path) == 0
    assert outputs(tmp_path) == {"one_overlay.png", "one_labels.png", "one.json"}
    shown = capsys.readouterr()
    assert f"{path}: " in shown.out and " %" in shown.out
    assert f"overlay: {tmp_path / 'out' / 'one_overlay.png'}" in shown.out
    assert "image/s" not in shown.err  # no progress bar over one image
    found = json.loads((tmp_path / "out" / "one.json").read_text())
    assert (found["height"], found["width"]) == (16, 24)
    assert found["classes"] == ["red star", "grass"]
    assert sum(found["shares"].values()) == pytest.approx(1, abs=1e-5)
    with Image.open(tmp_path / "out" / "one_labels.png") as labels:
        share = (np.asarray(labels) == 0).mean()
    assert found["shares"].get("red star", 0) == pytest.approx(share, abs=1e-5)


def test_heatmap_of_each_word_and_image(demo, tmp_path, capsys):
    write_image(tmp_path / "many" / "a.png")
    write_image(tmp_path / "many" / "b.png", 1, 30)
    assert demo(tmp_path / "many", flags=("--heatmap",)) == 0
    shown = capsys.readouterr().out.splitlines()
    out = tmp_path / "out"
    assert f"  overlay: {out}/a_overlay.png" in shown
    assert f"  heat map of red star: {out}/a_heatmap_red-star.png" in shown
    assert f"  heat map of grass: {out}/b_heatmap_grass.png" in shown
    kinds = ("overlay.png", "labels.png", "heatmap_red-star.png", "heatmap_grass.png")
    files = {f"{name}_{kind}" for name in "ab" for kind in kinds}
    assert outputs(tmp_path) == files | {"a.json", "b.json"}
    heatmaps = json.loads((tmp_path / "out" / "b.json").read_text())["heatmaps"]
    assert heatmaps["measure"] == "probability"
    assert list(heatmaps["words"]) == ["red star", "grass"]
    star, grass = heatmaps["words"].values()
    assert (star["file"], grass["file"]) == ("b_heatmap_red-star.png", "b_heatmap_grass.png")
    assert star["mean"] + grass["mean"] == pytest.approx(1, abs=1e-5)
    assert 0 <= star["min"] <= star["mean"] <= star["max"] <= 1


def test_attention_to_a_caption_with_a_checkpoint(demo, tmp_path, tiny_opts, capsys):
    path = write_image(tmp_path / "one.png", 40, 24)
    opts = ["MODEL.META_ARCHITECTURE", "MaskedDistillCLIP"]
    opts += ["MODEL.MASKED_DISTILL.NUM_CODES", "8"]
    torch.manual_seed(1)
    model = build_model(load_config(None, [*tiny_opts, *opts]))
    Checkpointer(model, str(tmp_path)).save("trained")
    caption = "a red star on grass"
    opts += ["MODEL.WEIGHTS", str(tmp_path / "trained.pth")]
    assert demo(path, classes=caption, flags=("--attention", "--heatmap"), opts=tuple(opts)) == 0
    kinds = ("overlay", "labels", "heatmap_a-red-star-on-grass", "attention_a-red-star-on-grass")
    file = tmp_path / "out" / f"one_{kinds[-1]}.png"
    assert f"  attention of {caption}: {file}" in capsys.readouterr().out.splitlines()
    assert outputs(tmp_path) == {*(f"one_{kind}.png" for kind in kinds), "one.json"}
    found = json.loads((tmp_path / "out" / "one.json").read_text())["attention"]
    assert found["measure"] == "attention"
    star = found["words"][caption]
    assert star["file"] == "one_attention_a-red-star-on-grass.png"
    assert 0 <= star["min"] < star["mean"] < star["max"]


def test_heatmap_of_a_single_word(demo, tmp_path):
    path = ROOT / "datasets" / "examples" / "shapes.png"
    assert demo(path, classes="red star", flags=("--heatmap",)) == 0
    heatmaps = json.loads((tmp_path / "out" / "shapes.json").read_text())["heatmaps"]
    assert heatmaps["measure"] == "cosine"
    star = heatmaps["words"]["red star"]
    assert -1 <= star["min"] < star["mean"] < star["max"] <= 1
    with Image.open(tmp_path / "out" / star["file"]) as drawn, Image.open(path) as original:
        assert drawn.width >= original.width and drawn.height > original.height


def test_folders_globs_and_images_of_one_name(demo, tmp_path, capsys):
    write_image(tmp_path / "a" / "x.png")
    write_image(tmp_path / "a" / "x.jpg")
    write_image(tmp_path / "b" / "x_2.png", 1, 30)
    write_image(tmp_path / "b" / "y.png", 30, 1)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert demo(tmp_path / "a", tmp_path / "b" / "*.png") == 0
    overlays = {name for name in outputs(tmp_path) if name.endswith("_overlay.png")}
    assert overlays == {f"{n}_overlay.png" for n in ("x", "x_2", "x_2_2", "y")}
    shown = capsys.readouterr()
    assert shown.out.count("overlay: ") == 4
    assert "4/4" in shown.err  # the progress bar


def test_images_of_the_shapes_world(demo, tmp_path, capsys):
    assert demo("shapes://val/0/3", "shapes://dev/0/3-4") == 0
    overlays = {name for name in outputs(tmp_path) if name.endswith("_overlay.png")}
    assert overlays == {f"{n}_overlay.png" for n in ("3", "3_2", "4")}
    assert "shapes://dev/0/4: " in capsys.readouterr().out


def test_image_named_twice_is_segmented_once(demo, tmp_path, monkeypatch):
    """By its folder, and by another spelling of its path."""
    path = write_image(tmp_path / "a" / "x.png")
    monkeypatch.chdir(tmp_path)
    assert demo("a", path) == 0
    overlays = {name for name in outputs(tmp_path) if name.endswith("_overlay.png")}
    assert overlays == {"x_overlay.png"}


def test_unique_names():
    paths = ["a.png", "b/a.jpg", "a_2.png", "A.png", "c/a.png"]
    assert tool["unique_names"](paths) == ["a", "a_2", "a_2_2", "A_3", "a_4"]


def test_bad_images_are_reported_and_left_out(demo, tmp_path, capsys):
    folder = tmp_path / "many"
    write_image(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    (folder / "c.jpg").write_bytes(b"no image")
    cut = write_image(folder / "d.png").read_bytes()
    (folder / "d.png").write_bytes(cut[:-60])
    (folder / "e.png").write_bytes(cut[:16] + bytes(4) + cut[20:])
    write_image(folder / "f.png")
    assert demo(folder) == 1
    assert {name for name in outputs(tmp_path) if name.endswith(".json")} == {"a.json", "f.json"}
    told = capsys.readouterr().err
    for name in ("b.png", "c.jpg", "d.png", "e.png"):
        assert told.count(f"left out: cannot read {folder / name}: ") == 1
    assert "4 of 6 images could not be read" in told


def test_all_images_bad(demo, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert demo(tmp_path / "a.png") == 1
    assert "1 of 1 images could not be read" in capsys.readouterr().err


@pytest.mark.usefixtures("never_built")
@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ("", "classes '' name nothing"),
        (" ", "name nothing"),
        (",", "entry 1 of 2 is empty"),
        ("grass, sky, Grass", "names repeat a class: 'grass' (class 0) and 'Grass' (class 2)"),
    ],
)
def test_bad_words_are_refused_before_building(refused, tmp_path, classes, told):
    assert told in refused(write_image(tmp_path / "a.png"), classes=classes)


def test_too_long_word_is_refused_by_name(refused, tmp_path):
    long_one = " ".join(["very"] * 99 + ["tall"])
    told = refused(write_image(tmp_path / "a.png"), classes=f"grass, {long_one}")
    assert "very very" in told and "77" in told
    assert outputs(tmp_path) == set()


def test_words_may_come_from_the_config(demo, refused, tmp_path):
    path = write_image(tmp_path / "a.png")
    told = refused(path, classes=None)
    assert "no vocabulary" in told and "--classes" in told
    assert demo(path, classes=None, opts=("MODEL.TEXT.CLASSES", "['sky', 'sea']")) == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["classes"] == ["sky", "sea"]


@pytest.mark.usefixtures("never_built")
def test_inputs_without_images_are_refused(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, told in (
        ("none.png", "there is no such file"),
        ("empty", "the folder holds no images"),
        ("*.png", "the pattern holds no images"),
    ):
        assert told in refused(tmp_path / name)


@pytest.mark.usefixtures("never_built")
def test_unwritable_output_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    argv = ["--input", str(write_image(tmp_path / "a.png")), "--classes", "a"]
    with pytest.raises(SystemExit) as end:
        tool["main"]([*argv, "--output", str(tmp_path / "file" / "out")])
    assert end.value.code.startswith(f"error: cannot write {tmp_path}/file/out")
    assert (tmp_path / "file").read_text() == "kept"


def test_full_disk_keeps_written_files(refused, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "many" / name)
    sync, calls = files.os.fsync, []

    def fill(descriptor):
        calls.append(descriptor)
        if len(calls) > 5:  # the probe, three files of a, one of b
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", fill)
    told = refused(tmp_path / "many")
    assert told.startswith(f"error: cannot write {tmp_path / 'out' / 'b_labels.png'}: the disk is")
    assert outputs(tmp_path) == {"a_overlay.png", "a_labels.png", "a.json", "b_overlay.png"}


@pytest.mark.parametrize(
    ("opts", "told"),
    [
        (("NO.SUCH_KEY", "1"), "option NO.SUCH_KEY 1: "),
        (("MODEL.WEIGHTS", "gone.pth"), "MODEL.WEIGHTS 'gone.pth' does not exist"),
        (("MODEL.CLIP.PRETRAINED", "gone.pt"), "there is no weight file 'gone.pt'"),
        (("SEED",), "give keys and values in turn"),
    ],
)
def test_bad_keys(refused, tmp_path, opts, told):
    assert told in refused(write_image(tmp_path / "a.png"), opts=opts)


def test_weights_of_another_architecture(refused, tmp_path):
    torch.save({"stem.conv1.weight": torch.ones(2)}, tmp_path / "other.pth")
    opts = ("MODEL.WEIGHTS", str(tmp_path / "other.pth"))
    told = refused(write_image(tmp_path / "a.png"), opts=opts)
    assert "does not fit MaskCLIP: " in told and "1 unexpected: stem.conv1.weight" in told


def test_options_after_opts_are_refused(demo, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        demo(write_image(tmp_path / "a.png"), opts=("--output", "elsewhere"))
    assert end.value.code == 2
    assert "--output follows a config key" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        tool["main"](["--help"])
    assert end.value.code == 0
    assert "must come last" in capsys.readouterr().out


@pytest.mark.slow
def test_command(tmp_path, tiny_opts):
    write_image(tmp_path / "many" / "a.png")
    (tmp_path / "many" / "b.png").write_bytes(b"")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    argv = ["--input", tmp_path / "many", "--classes", "red star", "--output", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, str(TOOL), *(str(word) for word in argv), "--opts", *tiny_opts],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "a.png: red star 100.0 %" in done.stdout
    assert "left out: cannot read" in done.stderr
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr


def test_words_from_a_file_or_a_list_of_the_package(demo, tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("red star\ngrass | lawn\n")
    forms = {str(path): 2, "red star\ngrass": 2, '["a", ["b", "c"]]': 2, "voc20": 20}
    for words, count in forms.items():
        assert demo(write_image(tmp_path / "a.png"), classes=words) == 0
        assert len(json.loads((tmp_path / "out" / "a.json").read_text())["classes"]) == count


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("nowhere.txt", "the word list 'nowhere.txt' does not exist"),
        ("a, b; c", "--classes 'a, b; c' hold commas and semicolons"),
        ("['a', 'b']", "begins like JSON but is not valid"),
    ],
)
def test_ambiguous_words_are_refused(refused, never_built, tmp_path, words, told):
    assert told in refused(write_image(tmp_path / "a.png"), classes=words)


def test_long_names_keep_images_apart(demo, tmp_path):
    """Of 255 bytes a name may have, the words of heat maps need some."""
    longest = "x" * 250
    write_image(tmp_path / "many" / f"{longest}a.png"[-255:])
    write_image(tmp_path / "many" / f"{longest}b.png"[-255:])
    word = "a red star on grass and sand " * 6
    assert demo(tmp_path / "many", classes=word, flags=("--heatmap",)) == 0
    stems = {name.removesuffix(".json") for name in outputs(tmp_path) if name.endswith(".json")}
    assert len(stems) == 2 and all(stem.startswith("x" * 100) for stem in stems)
    assert len(outputs(tmp_path)) == 8


def test_names_that_are_not_utf_8(demo, tmp_path, monkeypatch):
    """On a console that refuses what it cannot encode."""
    name = os.fsdecode(b"caf\xe9")
    write_image(tmp_path / "many" / f"{name}.png")
    (tmp_path / "many" / f"{name}_bad.png").write_bytes(b"no image")
    console = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", console)
    assert demo(tmp_path / "many") == 1
    console.flush()
    assert b"caf\\udce9.png: " in console.buffer.getvalue()
    assert f"{name}.json" in outputs(tmp_path)


def test_image_too_large_for_memory_is_left_out(demo, tmp_path, monkeypatch, capsys):
    write_image(tmp_path / "many" / "a.png")
    write_image(tmp_path / "many" / "b.png", 20, 20)
    answer = PixelScorer.segment

    def segment(self, images, *args, **kwargs):
        if images.shape[-1] == 20:
            torch.empty(10**13)
        return answer(self, images, *args, **kwargs)

    monkeypatch.setattr(PixelScorer, "segment", segment)
    assert demo(tmp_path / "many") == 1
    told = capsys.readouterr().err
    assert f"left out: {tmp_path / 'many' / 'b.png'}: " in told and "more memory" in told
    assert {name for name in outputs(tmp_path) if name.endswith(".json")} == {"a.json"}


def test_heatmaps_too_large_for_memory_are_left_out(demo, tmp_path, monkeypatch, capsys):
    path = write_image(tmp_path / "a.png")
    monkeypatch.setattr(image_errors, "available_memory", lambda device: 10)
    monkeypatch.setattr(image_errors, "_ALWAYS_ALLOWED", 2000)
    assert demo(path, flags=("--heatmap",)) == 1
    told = capsys.readouterr().err
    assert f"heatmaps left out: {path}: " in told
    assert "the maps of 2 words at 24 x 16 pixels need" in told
    assert "1 of 1 images have no maps" in told
    assert outputs(tmp_path) == {"a_overlay.png", "a_labels.png", "a.json"}


def test_endless_ranges_are_refused(refused, never_built):
    assert "name at most 1000000 at once" in refused("shapes://train/0/0-100000000000")
    for name in ("shapes://train/0/" + "9" * 5000, "shapes://train/0/0-" + "9" * 5000):
        assert "is not an image of the Shapes world" in refused(name)


def test_pipes_and_addresses_are_refused(refused, never_built, tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "it is a pipe or device" in refused(tmp_path / "a.png")
    assert "nothing is downloaded" in refused("https://host/a.png?width=100")
