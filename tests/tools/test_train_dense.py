"""MaskCLIP+ and the fine-tuning beside it through the tools: train, evaluate alone, segment."""

import json
import logging
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
train_net = runpy.run_path(str(ROOT / "tools" / "train_net.py"), run_name="train_net")["main"]
demo = runpy.run_path(str(ROOT / "tools" / "demo.py"), run_name="demo")["main"]
IMAGE = ROOT / "datasets" / "examples" / "shapes.png"

HEAD = ("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head", "MODEL.DENSE_HEAD.DILATIONS", "[1, 2]")
METHODS = {
    "MaskCLIPPlus": (
        *("MODEL.META_ARCHITECTURE", "MaskCLIPPlus", "MODEL.MASKCLIP_PLUS.SETTING", "zero_shot"),
        *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
        *("MODEL.TIMM.OUTPUT_STRIDE", "8", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']"),
        *("MODEL.TIMM.OUT_INDICES", "[1, 2]", *HEAD),
    ),
    "CLIPFineTune": (
        *("MODEL.META_ARCHITECTURE", "CLIPFineTune", "MODEL.FINE_TUNE.MAPPER", "linear"),
        *("MODEL.BACKBONE.NAME", "OVSegCLIPBackbone", *HEAD),
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['clip_tokens']"),
    ),
}


@pytest.fixture
def keys(tiny_opts, tmp_path):
    """Give a function from a method to keys and values of two steps, the second by itself."""
    solver = {"IMS_PER_BATCH": 4, "MAX_ITER": 2, "BASE_LR": 0.01, "OPTIMIZER": "SGD"}
    return lambda method: [
        *tiny_opts,
        *METHODS[method],
        *("DATASETS.TRAIN", "('ovseg_shapes_train',)", "INPUT.TRAIN_MAPPER", "semantic"),
        *("INPUT.SEMANTIC.UNSEEN", "['novel']", "INPUT.MIN_SIZE_TRAIN", "(96,)"),
        *("DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.MAX_IMAGES", "6"),
        *("OUTPUT_DIR", str(tmp_path / "output")),
        *(str(word) for key, value in solver.items() for word in (f"SOLVER.{key}", value)),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_train_evaluate_alone_and_segment(keys, tmp_path, method, caplog, monkeypatch):
    opts = keys(method)
    train_net(opts)
    weights = ["MODEL.WEIGHTS", str(tmp_path / "output" / "model_final.pth")]
    results = tmp_path / "output" / "results.json"
    (trained,) = json.loads(results.read_text()).values()
    results.unlink()
    train_net(["--eval-only", *opts, *weights])
    (alone,) = json.loads(results.read_text()).values()
    for name in ("mIoU_base", "mIoU_novel", "hIoU", "pACC"):
        assert alone[name] == pytest.approx(trained[name], abs=1e-4)

    (tmp_path / "config.yaml").write_text("VERSION: 2\n")
    command = ["--config-file", str(tmp_path / "config.yaml"), "--input", str(IMAGE)]
    command += ["--classes", "red star, grass", "--output", str(tmp_path / "demo"), "--opts", *opts]
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    caplog.clear()
    assert demo([*command, *weights]) == 0
    assert "random weights" not in caplog.text
    found = json.loads((tmp_path / "demo" / "shapes.json").read_text())
    assert found["classes"] == ["red star", "grass"]
    assert sum(found["shares"].values()) == pytest.approx(1, abs=1e-5)
    command += ["MODEL.CLIP.PRETRAINED", "", "MODEL.CLIP.NAME", "ShapesCLIP"]
    with pytest.raises(SystemExit, match="MODEL.WEIGHTS is empty, and the network"):
        demo(command)
    assert demo([*command, "MODEL.WEIGHTS", "random"]) == 0
    assert f"the network of this {method} has random weights, as the config asks" in caplog.text
    assert "random weights" in json.loads((tmp_path / "demo" / "shapes.json").read_text())["note"]
