"""Contract of DefaultPredictor, with detectron2 and with the stand-in."""

import numpy as np
import pytest
import torch

from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.d2.engine import DefaultPredictor


@pytest.fixture
def weights(tmp_path) -> str:
    file = tmp_path / "line.pth"
    torch.save({"model": {"weight": torch.tensor(7.0), "bias": torch.tensor(8.0)}}, file)
    return str(file)


@pytest.fixture
def blue_image() -> np.ndarray:
    """20 x 40, BGR; of one colour, so that resizing leaves values exact."""
    return np.full((20, 40, 3), (200, 20, 2), np.uint8)


@pytest.mark.parametrize(("order", "channels"), [("BGR", [200, 20, 2]), ("RGB", [2, 20, 200])])
def test_predictor_resizes_and_orders_channels(line_cfg, blue_image, weights, order, channels):
    line_cfg.MODEL.WEIGHTS = weights
    line_cfg.INPUT.FORMAT = order
    line_cfg.INPUT.MIN_SIZE_TEST = 10
    inputs = DefaultPredictor(line_cfg)(blue_image)
    assert inputs["image"].shape == (3, 10, 20)
    assert inputs["image"].dtype == torch.float32
    assert inputs["image"].device.type == "cpu"
    assert inputs["image"].amin((1, 2)).tolist() == inputs["image"].amax((1, 2)).tolist()
    assert inputs["image"][:, 0, 0].tolist() == channels
    assert (inputs["height"], inputs["width"]) == (20, 40)
    assert inputs["grad_enabled"] is False


@pytest.mark.parametrize(
    ("min_size", "max_size", "size"),
    [(10, 15, (8, 15)), (0, 15, (20, 40)), (20, 999, (20, 40))],  # 7.5 rounds up; 0: as it is
)
def test_predictor_sizes(line_cfg, blue_image, weights, min_size, max_size, size):
    line_cfg.MODEL.WEIGHTS = weights
    line_cfg.INPUT.MIN_SIZE_TEST, line_cfg.INPUT.MAX_SIZE_TEST = min_size, max_size
    assert DefaultPredictor(line_cfg)(blue_image)["image"].shape == (3, *size)


def test_predictor_does_not_change_the_image(line_cfg, blue_image, weights):
    line_cfg.MODEL.WEIGHTS = weights
    line_cfg.INPUT.MIN_SIZE_TEST = 0
    before = blue_image.copy()
    DefaultPredictor(line_cfg)(blue_image)["image"].zero_()
    np.testing.assert_array_equal(blue_image, before)


def test_predictor_has_weights_and_metadata(line_cfg, weights):
    line_cfg.MODEL.WEIGHTS = weights
    line_cfg.DATASETS.TEST = ("ovseg_test_predictor", "ovseg_test_other")
    predictor = DefaultPredictor(line_cfg)
    assert (predictor.model.weight.item(), predictor.model.bias.item()) == (7.0, 8.0)
    assert not predictor.model.training
    assert predictor.metadata is MetadataCatalog.get("ovseg_test_predictor")
    line_cfg.DATASETS.TEST = ()
    assert not hasattr(DefaultPredictor(line_cfg), "metadata")


def test_predictor_copies_the_config(line_cfg):
    predictor = DefaultPredictor(line_cfg)
    line_cfg.INPUT.FORMAT = "L"
    assert predictor.cfg.INPUT.FORMAT == "BGR"


def test_predictor_refuses_missing_weights(line_cfg, tmp_path):
    line_cfg.MODEL.WEIGHTS = str(tmp_path / "nowhere.pth")
    with pytest.raises(AssertionError, match="Checkpoint .*nowhere.pth not found!"):
        DefaultPredictor(line_cfg)


def test_predictor_refuses_other_formats(line_cfg):
    line_cfg.INPUT.FORMAT = "L"
    with pytest.raises(AssertionError):
        DefaultPredictor(line_cfg)
