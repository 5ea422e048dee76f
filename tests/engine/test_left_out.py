"""Evaluations go on without the images that memory does not suffice for."""

import json
import logging
import struct
import zlib

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.left_out import LeavingOut
from ovseg_d2.image_errors import ImageTooLargeError

CLASSES = ["red star", "grass"]


def make_bomb(path):
    def chunk(name, content):
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    header = struct.pack(">IIBBBBB", 178_000_000, 1, 1, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))


def run(tmp_path, tiny_opts, name, model=None):
    cfg = load_config(None, [*tiny_opts, "OUTPUT_DIR", str(tmp_path / "output")])
    cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    return evaluate(cfg, build_model(cfg) if model is None else model)


def test_decompression_bomb_is_left_out_and_counted(tmp_path, tiny_opts, toy_dataset, caplog):
    sizes = ((24, 32), (32, 24), (24, 24))
    name = toy_dataset("ovseg_toy_bomb", CLASSES, sizes=sizes)
    torch.manual_seed(0)
    whole = run(tmp_path, tiny_opts, name)["sem_seg"]
    assert whole["images"] == 3 and "images_left_out" not in whole
    bomb = DatasetCatalog.get(name)[1]["file_name"]
    make_bomb(bomb)
    with caplog.at_level(logging.WARNING):
        found = run(tmp_path, tiny_opts, name)["sem_seg"]
    assert found["images"] == 2 and found["images_left_out"] == 1
    assert f"left out of the evaluation: cannot read {bomb}: " in caplog.text
    assert "1 of 3 images were left out" in caplog.text
    written = json.loads((tmp_path / "output" / "results.json").read_text())[name]
    assert written["images_left_out"] == 1


def test_numbers_are_those_of_the_other_images(tmp_path, tiny_opts, toy_dataset, monkeypatch):
    cfg = load_config(None, tiny_opts)
    model = build_model(cfg)
    rest = toy_dataset("ovseg_toy_rest", CLASSES, sizes=((24, 32),))
    expected = run(tmp_path, tiny_opts, rest, model)["sem_seg"]
    name = toy_dataset("ovseg_toy_memory", CLASSES, sizes=((24, 32), (40, 24)))
    score = type(model.scorer).score_pixels

    def score_small_ones(self, images, *args, **kwargs):
        if images.shape[-2] == 40:
            torch.empty(10**13)
        return score(self, images, *args, **kwargs)

    monkeypatch.setattr(type(model.scorer), "score_pixels", score_small_ones)
    found = run(tmp_path, tiny_opts, name, model)["sem_seg"]
    assert found["images_left_out"] == 1 and found["images"] == 1
    assert found["mIoU"] == expected["mIoU"]


def test_no_image_left_is_an_error(tmp_path, tiny_opts, toy_dataset):
    name = toy_dataset("ovseg_toy_nothing", CLASSES, sizes=((24, 32),))
    make_bomb(DatasetCatalog.get(name)[0]["file_name"])
    with pytest.raises(ImageTooLargeError, match="all 1 images were left out"):
        run(tmp_path, tiny_opts, name)


def test_one_image_of_a_batch_is_left_out():
    """As evaluations that make one vector of each image have them."""

    class Model(torch.nn.Module):
        def forward(self, inputs):
            if any(each["number"] == 1 for each in inputs):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [{"answer": each["number"]} for each in inputs]

    inputs = [{"file_name": f"{n}.png", "number": n} for n in range(3)]
    inputs[2]["left_out"] = "2.png: no"
    first, second, third = LeavingOut(Model())(inputs)
    assert first == {"answer": 0}
    assert second["left_out"].startswith("1.png: it needs more memory")
    assert third == {"left_out": "2.png: no"}


def test_mode_of_the_model_stays():
    model = torch.nn.Linear(1, 1).eval()
    assert not LeavingOut(model).training
