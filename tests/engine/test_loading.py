"""Random weights answer only where they are asked for by the word, and outputs say so."""

import json
import logging
from argparse import Namespace

import numpy as np
import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import DefaultPredictor
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.engine.loading import RANDOM_NOTE, check_trained
from ovseg_d2.engine.run import check_job, evaluate_config, run_job
from ovseg_d2.prepare.proposal_masks import ProposalMasks
from ovseg_d2.segmenter import Segmenter

PLUS = (
    *("MODEL.META_ARCHITECTURE", "MaskCLIPPlus"),
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']"),
)
NO_NETWORK = ("MODEL.META_ARCHITECTURE", "OVSeg", "MODEL.OVSEG.PROPOSALS", "felzenszwalb")
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture(autouse=True)
def _logs(monkeypatch):
    """Let the test see the log, whatever ran before."""
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)


@pytest.fixture
def trained_clip(tiny_opts):
    """Keys and values of the tiny CLIP with weights of a file."""
    cfg = load_config(None, tiny_opts)
    model = build_model(cfg)
    path = cfg.MODEL.CLIP.NAME.replace(".json", ".pt")
    torch.save(model.system.tower.model.state_dict(), path)
    return [*tiny_opts, "MODEL.CLIP.PRETRAINED", path]


def arguments(*words):
    return Namespace(
        config_file="", resume="--resume" in words, eval_only="--eval-only" in words, opts=[]
    )


@pytest.mark.parametrize(
    ("opts", "note"),
    [
        (("MODEL.CLIP.PRETRAINED", "random"), RANDOM_NOTE),
        (("MODEL.WEIGHTS", "random", *PLUS), RANDOM_NOTE),
        ((), ""),
        (NO_NETWORK, ""),
    ],
)
def test_check_trained_notes_and_logs_random_weights(trained_clip, opts, note, caplog):
    cfg = load_config(None, [*trained_clip, *opts])
    model = build_model(cfg)
    assert check_trained(cfg, model) == note
    assert ("as the config asks" in caplog.text) == bool(note)
    caplog.clear()
    cfg.MODEL.WEIGHTS = "trained.pth"
    assert check_trained(cfg, model) == caplog.text == ""


def test_network_without_weights_is_refused_everywhere(trained_clip, toy_dataset, tmp_path):
    name = toy_dataset("ovseg_toy_untrained", ["red star", "grass"])
    test_set = ("DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path / "out"))
    opts = [*trained_clip, *PLUS, *test_set]
    refusal = "MODEL.WEIGHTS is empty, and the network of this MaskCLIPPlus.*the word random"
    with pytest.raises(ValueError, match=refusal):
        Segmenter(opts=opts)
    with pytest.raises(ValueError, match=refusal):
        evaluate_config("configs/maskclip.yaml", opts)
    with pytest.raises(ValueError, match=refusal):
        run_job(load_config(None, opts), arguments("--eval-only"))
    predictor = DefaultPredictor(load_config(None, opts))
    with pytest.raises(ValueError, match="network of this MaskCLIPPlus .*MODEL.WEIGHTS"):
        predictor(IMAGE)
    predictor.model.may_answer = True
    assert predictor(IMAGE)["sem_seg"].shape == (2, 32, 32)
    with pytest.raises(ValueError, match="network of this OVSeg has random"):
        ProposalMasks.load(weights="")


@pytest.mark.parametrize("way", ["segmenter", "predictor", "evaluation"])
def test_loaded_weights_predict(trained_clip, toy_dataset, tmp_path, way):
    Checkpointer(build_model(load_config(None, [*trained_clip, *PLUS])), str(tmp_path)).save("w")
    name = toy_dataset("ovseg_toy_loaded", ["red star", "grass"])
    test_set = ("DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path / "out"))
    opts = [*trained_clip, *PLUS, *test_set, "MODEL.WEIGHTS", str(tmp_path / "w.pth")]
    if way == "segmenter":
        assert Segmenter(opts=opts)(IMAGE, "a, b").note == ""
    elif way == "predictor":
        assert DefaultPredictor(load_config(None, opts))(IMAGE)["sem_seg"].shape == (2, 32, 32)
    else:
        assert "note" not in evaluate_config("configs/maskclip.yaml", opts)


def test_outputs_of_random_weights_have_the_note(tiny_opts, toy_dataset, tmp_path, caplog):
    found = Segmenter(opts=tiny_opts)(IMAGE, "a, b")
    assert (
        found.note == RANDOM_NOTE and "the CLIP of this MaskCLIP has random weights" in caplog.text
    )
    found.save(tmp_path)
    assert json.loads((tmp_path / "segmentation.json").read_text())["note"] == RANDOM_NOTE
    plain = type(found)(found.image, found.labels, found.vocabulary)
    noted, unnoted = np.asarray(found.overlay()), np.asarray(plain.overlay())
    assert noted.shape[0] > unnoted.shape[0]
    red = (noted[..., 0].astype(int) - noted[..., 1] > 150).any(axis=1)
    assert red[unnoted.shape[0] - 8 :].any()
    name = toy_dataset("ovseg_toy_noted", ["red star", "grass"])
    opts = [*tiny_opts, "DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path)]
    assert evaluate_config("configs/maskclip.yaml", opts)["note"] == RANDOM_NOTE
    assert json.loads((tmp_path / "results.json").read_text())[name]["note"] == RANDOM_NOTE


def test_heatmaps_of_random_weights_have_the_note(tiny_opts):
    segment = Segmenter(opts=tiny_opts)
    for maps in (segment.heatmaps(IMAGE, "a, b"), segment.attention(IMAGE, "a, b")):
        plain = type(maps)(maps.image, maps.maps, maps.measure)
        assert maps.note == RANDOM_NOTE and maps.draw("a").height > plain.draw("a").height
        assert maps.summary()["note"] == RANDOM_NOTE and "note" not in plain.summary()


def test_random_is_refused_in_training_and_without_a_network(trained_clip):
    cfg = load_config(None, [*trained_clip, "MODEL.WEIGHTS", "random"])
    with pytest.raises(ValueError, match="MODEL.WEIGHTS is random, which is for predictions"):
        check_job(cfg, arguments())
    with pytest.raises(ValueError, match="MaskCLIP has no network besides its CLIP"):
        check_trained(cfg, build_model(cfg))


def test_clip_without_weights_is_refused_by_name():
    opts = ["MODEL.DEVICE", "cpu", "MODEL.CLIP.NAME", "ViT-B-16"]
    for build in (lambda: Segmenter(opts=opts), lambda: build_model(load_config(None, opts))):
        with pytest.raises(ValueError, match=r"'ViT-B-16' has no packaged .*'openai'.*word random"):
            build()


def test_checkpoint_may_hold_the_clip(trained_clip, tmp_path):
    opts = [*trained_clip, "MODEL.TEXT.CLASSES", "['a', 'b']"]
    Checkpointer(build_model(load_config(None, opts)), str(tmp_path)).save("w")
    opts = [*opts, "MODEL.CLIP.PRETRAINED", "", "MODEL.WEIGHTS", str(tmp_path / "w.pth")]
    assert Segmenter(opts=opts)(IMAGE).note == ""
