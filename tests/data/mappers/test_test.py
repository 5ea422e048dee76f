"""Images for inference: size, channel order and corruptions."""

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.data.arrays import image_tensor
from ovseg_d2.data.corruptions import corrupt, corruption_rng
from ovseg_d2.data.images import ImageReadError
from ovseg_d2.data.mappers import TestMapper

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def file_name(tmp_path) -> str:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def test_image_tensor_has_its_own_memory():
    read_only = PIXELS.copy()
    read_only.setflags(write=False)
    tensor = image_tensor(read_only[:, ::-1])
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), PIXELS[:, ::-1])
    tensor.zero_()
    np.testing.assert_array_equal(read_only, PIXELS)


def test_test_mapper_keeps_the_size(file_name):
    entry = {"file_name": file_name, "image_id": 4, "dataset_name": "mine"}
    sample = TestMapper(min_size=0, max_size=1333)(entry)
    np.testing.assert_array_equal(sample.pop("image").permute(1, 2, 0).numpy(), PIXELS)
    assert sample == {**entry, "height": 20, "width": 30}
    assert set(entry) == {"file_name", "image_id", "dataset_name"}


@pytest.mark.parametrize(
    ("min_size", "max_size", "size"),
    [(10, 1333, (10, 15)), (40, 1333, (40, 60)), (40, 45, (30, 45))],
)
def test_test_mapper_resizes(file_name, min_size, max_size, size):
    sample = TestMapper(min_size=min_size, max_size=max_size)({"file_name": file_name})
    assert sample["image"].shape == (3, *size)
    resized = Image.fromarray(PIXELS).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0).numpy(), np.asarray(resized))
    assert (sample["height"], sample["width"]) == (20, 30)


def test_test_mapper_shrinks_with_four_pixels_or_with_all():
    """Every sixth row is white: OpenCV's bilinear reads two rows of eight, Pillow's means all."""
    image = np.zeros((48, 48, 3), dtype=np.uint8)
    image[::6] = 255
    shrunk = {
        name: TestMapper(min_size=6, max_size=99, resize=name).prepare(image)["image"][0, :, 0]
        for name in ("pillow", "opencv")
    }
    # Row i of the result lies between rows 8 i + 3 and 8 i + 4 of the image.
    centres = [
        255 // 2 + 1 if (8 * i + 3) % 6 == 0 or (8 * i + 4) % 6 == 0 else 0 for i in range(6)
    ]
    assert shrunk["opencv"].tolist() == centres and 0 in centres
    assert shrunk["pillow"].min() > 20 and shrunk["pillow"].max() < 70
    cfg = load_config(None, ["INPUT.MIN_SIZE_TEST", "6", "INPUT.RESIZE_TEST", "opencv"])
    assert torch.equal(
        TestMapper.from_config(cfg).prepare(image)["image"][0, :, 0], shrunk["opencv"]
    )


@pytest.mark.parametrize("shape", [(3000, 1), (1, 3000)])
def test_test_mapper_one_pixel_wide(shape):
    image = np.full((*shape, 3), 7, dtype=np.uint8)
    sample = TestMapper(min_size=32, max_size=1000).prepare(image)
    assert sample["image"].shape == (3, *(min(n, 1000) for n in shape))
    assert (sample["height"], sample["width"]) == shape
    assert (sample["image"] == 7).all()


def test_test_mapper_bgr(file_name):
    image = TestMapper(min_size=0, max_size=0, image_format="BGR").read(file_name)["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS[..., ::-1])


def test_test_mapper_shapes_names():
    sample = TestMapper(min_size=48, max_size=1333)({"file_name": "shapes://val/0/0"})
    assert sample["image"].shape == (3, 48, 48)
    assert (sample["height"], sample["width"]) == (96, 96)


def test_test_mapper_unreadable_image(tmp_path):
    with pytest.raises(ImageReadError, match="none.png"):
        TestMapper(min_size=0, max_size=0)({"file_name": str(tmp_path / "none.png")})


def test_test_mapper_wrong_format():
    with pytest.raises(ValueError, match="INPUT.FORMAT 'L' is not one of RGB, BGR"):
        TestMapper(min_size=0, max_size=0, image_format="L")


def test_test_mapper_from_config(file_name):
    opts = ["INPUT.MIN_SIZE_TEST", "10", "INPUT.MAX_SIZE_TEST", "12", "INPUT.FORMAT", "BGR"]
    built = TestMapper.from_config(load_config(None, opts)).read(file_name)["image"]
    by_hand = TestMapper(min_size=10, max_size=12, image_format="BGR").read(file_name)["image"]
    assert built.shape == (3, 8, 12)
    assert torch.equal(built, by_hand)


def test_test_mapper_corruption_is_reproducible(file_name):
    opts = ["INPUT.CORRUPTION.NAME", "gaussian_noise", "INPUT.CORRUPTION.LEVEL", "4"]
    mapper = TestMapper.from_config(load_config(None, opts))
    image = mapper({"file_name": file_name})["image"].permute(1, 2, 0).numpy()
    rng = corruption_rng(file_name, "gaussian_noise", 0)
    np.testing.assert_array_equal(image, corrupt(PIXELS, "gaussian_noise", 4, rng))
    again = mapper({"file_name": file_name})["image"].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(image, again)
    other = TestMapper.from_config(load_config(None, [*opts, "SEED", "1"]))
    assert (other({"file_name": file_name})["image"].permute(1, 2, 0).numpy() != image).any()


@pytest.mark.parametrize(("name", "level"), [("rain", 1), ("fog", 6)])
def test_test_mapper_unknown_corruption(name, level):
    opts = ["INPUT.CORRUPTION.NAME", name, "INPUT.CORRUPTION.LEVEL", str(level)]
    with pytest.raises(ValueError, match="corruption 'rain' is not one of|LEVEL is 6; it takes"):
        TestMapper.from_config(load_config(None, opts))
