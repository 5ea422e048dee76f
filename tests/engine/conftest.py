"""A tiny OVSeg, for what is done with one."""

import numpy as np
import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_model

SIZES = {"QUERIES": 6, "CONV_CHANNELS": 32, "MASK_CHANNELS": 8, "DIM": 16, "LAYERS": 1}
SIZES |= {"HEADS": 2, "HIDDEN_DIM": 16, "EMBED_HIDDEN_DIM": 16}


@pytest.fixture
def tiny_ovseg(tiny_opts, toy_dataset, tmp_path):
    """Give a function from further keys and values to the config of a tiny OVSeg, and the model."""
    words = ["red star", "grass", "blue dots"]
    labels = [np.indices((24, 32))[1] // 11, np.full((32, 24), 1)]
    labels[0][:4] = 255
    name = toy_dataset("ovseg_toy_oracles", words, labels=labels, class_sets={"all": [0, 1, 2]})

    def build(*opts):
        sizes = (str(w) for k, v in SIZES.items() for w in (f"MODEL.OVSEG.MASKFORMER.{k}", v))
        backbone = ("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet")
        cfg = load_config(
            None,
            [
                *(*tiny_opts, *backbone, "MODEL.TIMM.OUT_INDICES", "[1, 2]"),
                *("MODEL.META_ARCHITECTURE", "OVSeg"),
                *("MODEL.SEM_SEG_HEAD.NAME", "OVSegMaskFormerHead", *sizes),
                *("DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path / "output")),
                *opts,
            ],
        )
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        model.may_answer = True  # with random weights
        return cfg, model

    return build
