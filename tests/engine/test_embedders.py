"""Whole images through any model that stands on a CLIP: vectors, scores, and whole evaluations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.data import shapes
from ovseg_d2.data.loaders import build_test_loader
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.engine.embedders import EMBEDDERS, with_embedder
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.trainer import Trainer

VIEWS = ("crops", "captions", "probe")
TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"


@pytest.fixture
def cfg(tiny_opts, tmp_path):
    cfg = load_config(None, [*tiny_opts, "OUTPUT_DIR", str(tmp_path / "output")])
    cfg.DATASETS.TEST = tuple(f"ovseg_shapes_dev_{view}" for view in VIEWS)
    cfg.TEST.MAX_IMAGES = 40
    return cfg


@pytest.fixture
def model(cfg):
    return build_model(cfg).eval()


def image_of(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_image_embedder_resizes_the_image(model):
    inputs = [{"image": image_of(32, 32)}, {"image": image_of(20, 44)}]
    found = with_embedder("linear_probe", model)(inputs)
    tower = model.text_bank.tower
    for each, output in zip(inputs, found, strict=True):
        image = each["image"][None].float()
        if image.shape[-2:] != (32, 32):
            image = F.interpolate(image, (32, 32), mode="bicubic", antialias=True).clamp(0, 255)
        expected = tower.encode_image(tower.normalize(image), unit_norm=False)[0]
        torch.testing.assert_close(output["image_feats"], expected)


@pytest.mark.parametrize("synonyms", ["mean", "max"])
def test_class_scorer_gives_cosines(tiny_opts, synonyms):
    torch.manual_seed(0)
    model = build_model(load_config(None, [*tiny_opts, "MODEL.TEXT.SYNONYMS", synonyms])).eval()
    name = "ovseg_toy_scored"
    MetadataCatalog.get(name).set(stuff_classes=["red star, crimson star", "grass"])
    try:
        inputs = [{"image": image_of(32, 32, seed), "dataset_name": name} for seed in (1, 2)]
        found = with_embedder("classification", model)(inputs)
        tower, bank = model.text_bank.tower, model.text_bank
        for each, output in zip(inputs, found, strict=True):
            image = tower.encode_image(tower.normalize(each["image"][None].float()))[0]
            star, crimson, grass = (
                bank.embed([word])[0] for word in ("red star", "crimson star", "grass")
            )
            cosines = [image @ star, image @ crimson, image @ grass]
            if synonyms == "max":
                expected = torch.stack([max(cosines[:2]), cosines[2]])
            else:
                expected = torch.stack([image @ F.normalize(star + crimson, dim=0), cosines[2]])
            torch.testing.assert_close(output["class_scores"], expected)
    finally:
        MetadataCatalog.remove(name)


def test_caption_embedder_embeds_captions(model):
    name = "shapes://dev/0/3"
    inputs = [
        {"image": image_of(32, 32), "file_name": name},
        {"image": image_of(32, 32), "file_name": "a.png", "captions": ["grass", "a red star"]},
    ]
    first, second = with_embedder("retrieval", model)(inputs)
    assert tuple(first["captions"]) == shapes.read_captions(name)
    tower = model.text_bank.tower
    for output in (first, second):
        expected = tower.encode_text(tower.tokenize(output["captions"]))
        torch.testing.assert_close(output["text_embeds"], expected)
        assert output["image_embeds"].norm().item() == pytest.approx(1, abs=1e-5)


def test_evaluations_by_evaluator_type(cfg, model, tmp_path):
    model.train()
    found = evaluate(cfg, model)
    assert model.training and model.system.training  # as it was
    written = json.loads((tmp_path / "output" / "results.json").read_text())
    assert list(found) == list(written) == list(cfg.DATASETS.TEST)
    crops, captions, probe = written.values()
    assert {"accuracy", "accuracy_base", "accuracy_novel", "accuracy_withheld"} <= set(crops)
    assert {"harmonic_accuracy", "accuracy_top5"} <= set(crops) and crops["images"] == 40
    recalls = {f"{way}_R@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
    assert recalls <= set(captions) and captions["images"] == 40
    assert captions["image_to_text_R@1"] <= captions["image_to_text_R@10"]
    # Thirty crops to fit to and ten to test with, of which the base ones count.
    assert 0 < probe["images"] < 10 and 10 < probe["images_fit"] < 30
    assert probe["accuracy_fit"] > probe["accuracy"]


def test_perfect_tower_gets_100(cfg, model, monkeypatch, tmp_path):
    """The classes of the crops, handed to the texts' own vectors, give 100 %."""
    cfg.DATASETS.TEST = cfg.DATASETS.TEST[:1]
    text_embeds = model.text_bank.embed(list(shapes.CLASSES))
    (scorer,) = (EMBEDDERS[name] for name in ("classification",))

    def encode(self, batched_inputs):
        ids = [shapes.read_crop(each["file_name"])[1] for each in batched_inputs]
        return 3 * text_embeds[ids]

    monkeypatch.setattr(scorer, "encode", encode)
    assert evaluate(cfg, model)["classification"]["accuracy"] == 100


def test_with_embedder_returns_the_model_for_other_types(model):
    assert with_embedder("sem_seg", model) is model


def test_with_embedder_refuses_other_models(cfg, model):
    with pytest.raises(ValueError, match="Linear gives no embeddings of whole images, .*'retri"):
        with_embedder("retrieval", nn.Linear(2, 2))
    cfg.TEST.CEILING = "patch"
    with pytest.raises(
        ValueError, match="TEST.CEILING 'patch' is one of segmentation, and dataset"
    ):
        evaluate(cfg, model)


def test_embedding_loaders_have_batches(cfg):
    batches = [len(batch) for batch in build_test_loader(cfg, cfg.DATASETS.TEST[0])]
    assert batches == [32, 8]


@pytest.mark.slow
def test_two_processes_equal_one(tiny_opts, tmp_path):
    """The probe's fit too: features are gathered before it."""
    Checkpointer(build_model(load_config(None, tiny_opts)), str(tmp_path)).save("weights")
    names = repr(tuple(f"ovseg_shapes_dev_{view}" for view in VIEWS))
    opts = [*tiny_opts, "DATASETS.TEST", names, "TEST.MAX_IMAGES", "30"]
    opts += ["MODEL.WEIGHTS", str(tmp_path / "weights.pth")]
    path = os.pathsep.join(filter(None, [str(TOOL.parents[1]), os.environ.get("PYTHONPATH")]))
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        command = [sys.executable, str(TOOL), "--eval-only", "--num-gpus", str(processes)]
        done = subprocess.run(
            [*command, "--dist-url", "auto", *opts, "OUTPUT_DIR", str(folder)],
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads((folder / "results.json").read_text()))
    assert list(found[0]) == list(found[1])
    for name, numbers in found[0].items():
        assert found[1][name] == pytest.approx(numbers, abs=1e-3), name


def test_training_runs_all_embedders(tiny_train_opts, tmp_path):
    cfg = load_config(None, [*tiny_train_opts, "SOLVER.MAX_ITER", "2", "TEST.MAX_IMAGES", "24"])
    cfg.DATASETS.TEST = ("ovseg_shapes_dev_crops", "ovseg_shapes_dev_captions")
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    logged = json.loads((tmp_path / "output" / "metrics.json").read_text().splitlines()[-1])
    assert np.isfinite(logged["ovseg_shapes_dev_crops/classification/accuracy"])
    assert np.isfinite(logged["ovseg_shapes_dev_captions/retrieval/text_to_image_R@5"])
