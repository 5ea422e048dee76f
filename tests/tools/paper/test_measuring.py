"""The command of a paper's table, on a miniature of VOC with tiny random towers."""

import csv
import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from claims import jobs as jobs_module
from paper import PaperRow, read_releases
from paper.releases import Digests
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.config.per_dataset import dataset_config
from ovseg_d2.d2.modeling import build_model

TOOL = Path(__file__).resolve().parents[3] / "tools" / "benchmark.py"
tool = runpy.run_path(str(TOOL), run_name="benchmark")
CAPTION = '{"file_name": "1.jpg", "captions": ["a dog"]}\n'
FILE = "pixelclip_vit_base.pth"
PIXELCLIP = ("paper", "pixelclip", "--rows", "ViT-B/16, masks of SA-1B", "--datasets", "voc20")


@pytest.fixture
def run_tool(request, tmp_path, monkeypatch):
    """Run the tool with two images of VOC-20 and a caption on disk, no weights and no cache."""
    voc = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    rng = np.random.default_rng(0)
    for folder, suffix, shape in (
        ("JPEGImages", "jpg", (40, 60, 3)),
        ("annotations_detectron2/val", "png", (40, 60)),
    ):
        (voc / folder).mkdir(parents=True)
        for name in ("2007_000033", "2007_000042"):
            pixels = rng.integers(0, 20 if len(shape) == 2 else 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(voc / folder / f"{name}.{suffix}")
    (tmp_path / "data" / "flickr30k").mkdir()
    (tmp_path / "data" / "flickr30k" / "captions_test.jsonl").write_text(CAPTION)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    monkeypatch.setattr("paper.measuring.cached_published", lambda cfg: None)
    monkeypatch.chdir(request.config.rootpath)
    (tmp_path / "weights").mkdir()
    folders = ("--weights", tmp_path / "weights", "--output", tmp_path / "kept")

    def run(*words, opts=()):
        opts = ("--opts", *opts) if opts else ()
        tool["main"]([str(word) for word in (*words[:2], *folders, *words[2:], *opts)])

    return run


@pytest.fixture
def evaluations(monkeypatch):
    """Replace evaluation by a counter of what was asked for, in order."""
    asked = []

    def evaluate(config_file, opts):
        asked.append((config_file, dict(zip(opts[::2], opts[1::2], strict=True))))
        return {"mIoU": 80.0 + len(asked)}

    monkeypatch.setattr(jobs_module, "evaluate_config", evaluate)
    return asked


def test_table_shows_measured_numbers_dashes_and_remedies(
    run_tool, tiny_opts, tmp_path, capsys, monkeypatch
):
    words = ("paper", "maskclip", "--rows", "ViT-B/16", "--datasets", "voc20", "context59")
    files = ("--csv", tmp_path / "table.csv", "--json", tmp_path / "table.json")
    tiny = (*tiny_opts, "MODEL.TEXT.TEMPLATES", "['{}']", "INPUT.MIN_SIZE_TEST", "24")
    run_tool(*words, *files, opts=tiny)
    text = capsys.readouterr().out
    measured, absent = json.loads((tmp_path / "table.json").read_text())
    assert measured["published"] == 49.5 and 0 <= measured["measured"] <= 100
    assert measured["difference"] == pytest.approx(measured["measured"] - 49.5, abs=1e-3)
    assert "--eval-only" in measured["command"] and measured["weights"] == "random"
    assert f"| ViT-B/16 | 49.5 / {measured['measured']:.1f} | 21.7 / -" in " ".join(text.split())
    assert absent["measured"] is None and absent["missing"].startswith("ovseg_context59_val")
    assert "Missing:\n- ovseg_context59_val is not in the folder" in text
    assert "python datasets/prepare_context.py --archives FOLDER makes it from VOC" in text
    assert "Notes:\n- random weights" in text
    assert "- ovseg_voc20_val: 2 images on disk, 1449 in the benchmark" in text
    assert "- MaskCLIP, configs/maskclip/README.md\n" in text
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [measured["source"], absent["source"]]

    def refuse(*_):
        raise AssertionError("a kept evaluation runs again")

    monkeypatch.setattr(jobs_module, "evaluate_config", refuse)
    run_tool(*words, *files, opts=tiny)
    assert json.loads((tmp_path / "table.json").read_text()) == [measured, absent]


def test_weights_of_the_folder_are_loaded(run_tool, tiny_opts, tmp_path):
    tiny = (*tiny_opts, "MODEL.TEXT.TEMPLATES", "['{}']", "INPUT.MIN_SIZE_TEST", "32")
    tiny = (*tiny, "MODEL.PIXELCLIP.IMAGE_SIZE", "[32, 32]", "DATALOADER.NUM_WORKERS", "0")
    model = build_model(load_config("configs/paper/pixelclip_vitb16_sa1b.yaml", tiny))
    torch.save({"model": model.state_dict()}, tmp_path / "weights" / FILE)
    run_tool(*PIXELCLIP, "--json", tmp_path / "table.json", opts=tiny)
    (cell,) = json.loads((tmp_path / "table.json").read_text())
    assert cell["measured"] is not None and "random" not in cell["notes"]
    assert cell["weights"] == str(tmp_path / "weights" / FILE)
    content = (tmp_path / "weights" / FILE).read_bytes()
    assert cell["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert f"MODEL.WEIGHTS {cell['weights']}" in cell["command"]


def test_missing_weights_name_their_page(run_tool, capsys, evaluations):
    run_tool(*PIXELCLIP)
    run_tool("paper", "naclip", "--datasets", "voc20")
    run_tool("paper", "maskclip_plus", "--datasets", "voc20", "--rows", "RN50x16")
    run_tool("paper", "masked_distill_clip", "--datasets", "flickr30k", "--rows", "CLIP")
    text = capsys.readouterr().out
    assert evaluations == []
    assert f"weights/{FILE} does not exist; get it from https://huggingface.co/" in text
    assert "no cache of open_clip holds 'openai' of 'ViT-B-16'; get the file from https" in text
    assert "maskclip_plus_rn50x16_voc20.pth does not exist" in text
    assert (
        "no weights were released; python tools/train_net.py --config-file configs/paper/" in text
    )
    assert "52.9 / -" in text and "57.3" not in text


def test_released_file_is_evaluated_and_another_of_its_name_again(run_tool, tmp_path, evaluations):
    file = tmp_path / "weights" / FILE
    for content in (b"first", b"first", b"second"):
        file.write_bytes(content)
        run_tool(*PIXELCLIP)
    assert [opts["MODEL.WEIGHTS"] for _, opts in evaluations] == [str(file)] * 2
    assert evaluations[0][1]["DATASETS.TEST"] == "('ovseg_voc20_val',)"
    # Numbers do not depend on the folder, but on the number of images.
    file.rename(tmp_path / FILE)
    run_tool(*PIXELCLIP, "--weights", tmp_path)
    assert len(evaluations) == 2
    next((tmp_path / "data").rglob("*042.png")).unlink()
    run_tool(*PIXELCLIP, "--weights", tmp_path)
    assert len(evaluations) == 3


@pytest.mark.parametrize(
    ("words", "file", "problem"),
    [
        (("naclip", "--datasets", "voc20"), "ViT-B-16.pt", "its sha256 is"),
        (
            ("ovseg", "--datasets", "voc20", "--rows", "Swin-B"),
            "ovseg_swinbase_vitL14_ft_mpt.pth",
            "its md5 is",
        ),
    ],
)
def test_file_of_other_content_than_the_release_is_refused(
    run_tool, tmp_path, capsys, evaluations, words, file, problem
):
    (tmp_path / "weights" / file).write_bytes(b"half a download")
    run_tool("paper", *words)
    text = " ".join(capsys.readouterr().out.split())
    assert f"{file} is not the released file: {problem}" in text
    assert f"download it again from {read_releases()[file].page}" in text
    assert evaluations == []


def test_weights_of_ones_own_are_told_apart_by_content(run_tool, tmp_path, evaluations):
    own = tmp_path / "own.pth"
    for content in (b"first", b"first", b"second"):
        own.write_bytes(content)
        run_tool(*PIXELCLIP, opts=("MODEL.WEIGHTS", own))
    assert len(evaluations) == 2


def test_options_count_before_the_configs_settings_of_the_dataset(
    run_tool, tmp_path, evaluations, monkeypatch
):
    config = tmp_path / "one.yaml"
    scales = "TEST: {DATASETS: {ovseg_voc20_val: {MODEL: {MASKCLIP: {LOGIT_SCALE: 65.0}}}}}"
    config.write_text(f"MODEL: {{META_ARCHITECTURE: MaskCLIP}}\n{scales}\n")
    monkeypatch.setattr(PaperRow, "config_file", lambda self, dataset: str(config))
    words = ("paper", "sclip", "--datasets", "voc20")
    random = ("MODEL.CLIP.PRETRAINED", "random")
    run_tool(*words, opts=random)
    run_tool(*words, opts=(*random, "MODEL.MASKCLIP.LOGIT_SCALE", "30.0"))
    found = []
    for config_file, opts in evaluations:
        cfg = load_config(config_file, [word for pair in opts.items() for word in pair])
        found.append(dataset_config(cfg, "ovseg_voc20_val").MODEL.MASKCLIP.LOGIT_SCALE)
    assert found == [65.0, 30.0]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Let every config's training have its weights in one folder."""
    (tmp_path / "model_final.pth").write_bytes(b"trained")

    def load(config_file, opts=()):
        return load_config(config_file, (*opts, "OUTPUT_DIR", str(tmp_path)))

    monkeypatch.setattr("paper.measuring.load_config", load)
    return str(tmp_path / "model_final.pth")


def test_own_trainings_are_measured(run_tool, tmp_path, evaluations, trained):
    run_tool("paper", "masked_distill_clip", "--datasets", "flickr30k", "--rows", "CLIP")
    assert evaluations[0][1]["MODEL.WEIGHTS"] == trained


def test_released_model_with_an_own_clip_needs_both(run_tool, tmp_path, evaluations, trained):
    ade = tmp_path / "data" / "ADEChallengeData2016"
    for folder, suffix in (("images", "jpg"), ("annotations_detectron2", "png")):
        (ade / folder / "validation").mkdir(parents=True)
        (ade / folder / "validation" / f"1.{suffix}").touch()
    words = ("paper", "ovseg_adapt", "--datasets", "ade150", "--rows", "FT on proposals")
    run_tool(*words)
    assert evaluations == []
    release = tmp_path / "ovseg.pt"
    release.write_bytes(b"model")
    run_tool(*words, opts=("MODEL.WEIGHTS", release))
    ((_, opts),) = evaluations
    assert opts["MODEL.WEIGHTS"] == str(release)
    assert opts["MODEL.OVSEG.CLIP_WEIGHTS"] == trained


def test_failing_row_is_reported_and_the_others_go_on(run_tool, tmp_path, capsys, monkeypatch):
    def evaluate(config_file, opts):
        if "sa1b" in config_file:
            raise ValueError("MODEL.WEIGHTS holds no PixelCLIP;\nconvert it")
        return {"mIoU": 81.26}

    monkeypatch.setattr(jobs_module, "evaluate_config", evaluate)
    for name in (FILE, "pixelclip_vit_base_dino.pth"):
        (tmp_path / "weights" / name).write_bytes(name.encode())
    with pytest.raises(SystemExit) as ended:
        run_tool("paper", "pixelclip", "--datasets", "voc20", "--rows", "ViT-B/16")
    text = capsys.readouterr().out
    assert ended.value.code == 1
    assert "83.8 / 81.3" in text and "85.9 / -" in text
    assert (
        "Failed:\n- ViT-B/16, masks of SA-1B, voc20: MODEL.WEIGHTS holds no PixelCLIP; convert it"
    ) in text


def test_number_that_labels_do_not_give_is_noted(run_tool, tmp_path, capsys, monkeypatch):
    (tmp_path / "weights" / "maskclip_plus_zero_shot_voc20.pth").write_bytes(b"weights")
    numbers = {"mIoU_mmseg": 87.44, "mIoU_unseen": None, "hIoU": 3.0}
    monkeypatch.setattr(jobs_module, "evaluate_config", lambda *_: numbers)
    run_tool("paper", "maskclip_plus", "--datasets", "voc20", "--rows", "zero-shot")
    text = capsys.readouterr().out
    assert "87.8 / 87.4" in text and "86.1 / -" in text
    assert "- ovseg_voc20_val: its labels give no mIoU_unseen\n" in text


@pytest.mark.parametrize("damage", ["{", "[1]", '{"/x": 3}'])
def test_digests_are_kept_and_damaged_ones_made_anew(tmp_path, damage):
    file = tmp_path / "a.pth"
    file.write_bytes(b"weights")
    kept = tmp_path / "digests.json"
    first = Digests(kept).of(file)
    assert first["sha256"] == hashlib.sha256(b"weights").hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", None)  # a kept digest reads no file again
        assert Digests(kept).of(file) == first
    kept.write_text(damage)
    assert Digests(kept).of(file) == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("paper", "sclip", "--datasets", "voc"), "has no dataset 'voc'"),
        (("paper", "sclip", "--opts", "SEED", "1", "--csv", "x"), "--csv follows a config key"),
        (("paper", "slip"), "invalid choice: 'slip'"),
    ],
)
def test_bad_input_is_a_sentence(capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        tool["main"](list(words))
    assert message in capsys.readouterr().err + str(stopped.value.code)
