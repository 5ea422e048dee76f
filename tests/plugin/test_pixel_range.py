import numpy as np
import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import DefaultPredictor
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.plugin.pixel_range import check_pixel_range


def test_check_pixel_range_allows_0_to_255():
    check_pixel_range(torch.randint(0, 256, (3, 4, 5)).to(torch.uint8))
    check_pixel_range(255 * torch.rand(3, 4, 5) + 1)
    check_pixel_range(torch.randint(0, 2, (3, 4, 5)).float())  # all but black
    check_pixel_range(torch.zeros(3, 4, 5))
    check_pixel_range(torch.zeros(3, 0, 5))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 4, 5), "an image in 0..1; multiply it by 255"),
        (torch.rand(3, 4, 5).half(), "an image in 0..1"),
        (torch.randn(3, 4, 5) * 3, "not normalised"),
        (torch.full((3, 4, 5), 65535), "from 6.554e\\+04"),
        (torch.full((3, 4, 5), float("nan")), "from nan"),
    ],
)
def test_check_pixel_range_refuses_other_ranges(image, message):
    with pytest.raises(ValueError, match=message):
        check_pixel_range(image)


def test_model_refuses_an_image_in_0_to_1(tiny_opts):
    model = build_model(load_config(None, tiny_opts)).eval()
    image = torch.rand(3, 16, 16)
    for answer in (model, model.segment):
        with pytest.raises(ValueError, match=r"0\.\.1; multiply it by 255"):
            answer([{"image": image, "classes": "a, b"}])
    assert len(model([{"image": 255 * image, "classes": "a, b"}])) == 1


def test_default_predictor_refuses_an_image_in_0_to_1(tiny_opts, tmp_path):
    cfg = load_config(None, [*tiny_opts, "MODEL.TEXT.CLASSES", "['a', 'b']"])
    predictor = DefaultPredictor(cfg)
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert predictor(image)["sem_seg"].shape == (2, 16, 20)
    assert predictor(image.astype(np.float32))["sem_seg"].shape == (2, 16, 20)
    for floats in (image / 255, (image / 255).astype(np.float32)):
        with pytest.raises(ValueError, match=r"0\.\.1; multiply it by 255"):
            predictor(floats)
