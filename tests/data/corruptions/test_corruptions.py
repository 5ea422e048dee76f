"""Every corruption: purity, five growing levels, and its effect."""

import cv2
import numpy as np
import pytest

from ovseg_d2.data.corruptions import CORRUPTIONS, LEVELS, corrupt, corruption_rng
from ovseg_d2.data.corruptions.blur import motion_kernel

NAMES = (
    "gaussian_noise shot_noise impulse_noise speckle_noise gaussian_blur defocus_blur motion_blur "
    "zoom_blur snow frost fog brightness contrast elastic_transform pixelate jpeg_compression "
    "spatter"
).split()


def _image(height: int = 96, width: int = 96) -> np.ndarray:
    """An image with coarse and fine texture in all channels and a mean of about 118."""
    rng = np.random.default_rng(7)
    total = np.zeros((height, width, 3), np.float32)
    for points in (4, 12, 40):
        coarse = rng.uniform(-1, 1, (points, points, 3)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(118 + 50 * total, 0, 255).astype(np.uint8)


def test_corruptions_are_the_papers() -> None:
    assert list(CORRUPTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(96, 96), (150, 200)])
def test_corrupt_changes_grow_with_the_level(name: str, size: tuple[int, int]) -> None:
    image = _image(*size)
    changes = []
    for level in range(LEVELS + 1):
        out = corrupt(image, name, level, np.random.default_rng(3))
        assert out.shape == image.shape
        assert out.dtype == np.uint8
        changes.append(np.abs(out.astype(float) - image).mean())
    assert changes[0] == 0
    grows = [low < high for low, high in zip(changes, changes[1:], strict=False)]
    if name == "spatter":
        grows.pop(3)  # the third level is water, the fourth mud
    assert all(grows), changes
    assert changes[-1] > 4


@pytest.mark.parametrize("name", NAMES)
def test_corrupt_is_pure(name: str) -> None:
    image = _image()
    before = image.copy()
    state = np.random.get_state()[1].copy()
    first = CORRUPTIONS[name](image, 4, np.random.default_rng(5))
    second = CORRUPTIONS[name](image, 4, np.random.default_rng(5))
    assert np.array_equal(image, before)
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.get_state()[1], state)
    nothing = CORRUPTIONS[name](image, 0, np.random.default_rng(5))
    assert np.array_equal(nothing, image)
    assert not np.shares_memory(nothing, image)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (33, 64)])
def test_corrupt_takes_any_size(name: str, size: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        image = np.full((*size, 3), value, np.uint8)
        assert corrupt(image, name, 5, np.random.default_rng(0)).shape == image.shape


@pytest.mark.parametrize(
    "name",
    [
        "gaussian_blur",
        "defocus_blur",
        "motion_blur",
        "zoom_blur",
        "contrast",
        "elastic_transform",
        "pixelate",
    ],
)
def test_corrupt_keeps_flat_images(name: str) -> None:
    image = np.full((40, 60, 3), (20, 130, 240), np.uint8)
    for level in (1, 5):
        out = corrupt(image, name, level, np.random.default_rng(0)).astype(int)
        assert np.abs(out - image).max() <= 1


def test_noise_moments() -> None:
    grey = np.full((300, 300, 3), 128, np.uint8)
    value, rng = 128 / 255, np.random.default_rng(0)

    def std(name: str, level: int) -> float:
        return float((corrupt(grey, name, level, rng) / 255.0).std())

    assert std("gaussian_noise", 2) == pytest.approx(0.12, rel=0.02)
    assert std("speckle_noise", 3) == pytest.approx(0.35 * value, rel=0.02)
    assert std("shot_noise", 1) == pytest.approx((value / 60) ** 0.5, rel=0.02)
    out = corrupt(grey, "impulse_noise", 4, rng)
    assert (out != grey).mean() == pytest.approx(0.17, abs=0.01)
    assert (out == 255).mean() == pytest.approx(0.085, abs=0.01)


def test_blurs_scale_with_the_image() -> None:
    # A white line, twice as thick in an image twice as large, blurs to the same profile.
    small, large = np.zeros((112, 112, 3), np.uint8), np.zeros((224, 224, 3), np.uint8)
    small[:, 54:58], large[:, 108:116] = 255, 255
    for name in ("gaussian_blur", "defocus_blur"):
        of_small = corrupt(small, name, 4, np.random.default_rng(0))
        of_large = corrupt(large, name, 4, np.random.default_rng(0))
        shrunk = cv2.resize(of_large, (112, 112), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(int) - of_small).max() < 12
        assert of_small.max() < 200


def test_fixed_lengths_are_pixels_at_any_size() -> None:
    """A small part of a large image blurs as the large image does around it."""
    large = _image(448, 448)
    middle = large[174:274, 174:274]
    for name in ("gaussian_blur", "defocus_blur"):
        whole, part = (
            corrupt(image, name, 2, np.random.default_rng(0), fixed_lengths=True)
            for image in (large, middle)
        )
        assert np.array_equal(whole[194:254, 194:254], part[20:80, 20:80])
        scaled = corrupt(large, name, 2, np.random.default_rng(0))
        assert not np.array_equal(scaled, whole)


def test_spatter_is_light_water_then_dark_mud() -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    for level in (1, 2, 3):
        water = corrupt(grey, "spatter", level, np.random.default_rng(0)).astype(int)
        wet = (water != grey).any(axis=2)
        assert 0.005 < wet.mean() < 0.9 and water.min() >= 128
        # Turquoise has less red than green, and as much green as blue.
        assert (water[wet][:, 0] <= water[wet][:, 1]).all()
        assert np.array_equal(water[..., 1], water[..., 2])
    for level in (4, 5):
        mud = corrupt(grey, "spatter", level, np.random.default_rng(0))
        dirty = (mud != grey).any(axis=2)
        assert 0.05 < dirty.mean() < 0.9
        shares = (128 - mud[dirty].astype(float)) / (128 - np.array([63, 42, 20]))
        assert shares.min() > 0.78 and shares.max() < 1.02


def test_defocus_blur_is_a_disk() -> None:
    point = np.zeros((224, 224, 3), np.uint8)
    point[102:123, 102:123] = 255  # one pixel would be spread below a grey level
    out = corrupt(point, "defocus_blur", 3, np.random.default_rng(0))[112, :, 0]
    # Radius 6: grey from 6 pixels outside the edge at 122.5, even less at its middle.
    assert out[112] == 255
    assert out[130] == 0
    assert 110 < (int(out[122]) + int(out[123])) / 2 < 145


def test_motion_kernel_direction() -> None:
    level = motion_kernel(4, 3, 0)
    assert level.sum() == pytest.approx(1)
    assert level[4, :4].sum() == 0
    assert level[4, 4:].sum() == pytest.approx(1)
    assert (np.diff(level[4, 5:8]) < 0).all()
    upright = motion_kernel(4, 3, 90)
    assert upright[:5, 4].sum() == pytest.approx(1)
    slant = motion_kernel(4, 3, 45)
    assert slant[:5, 4:].sum() == pytest.approx(1)


def test_digital_corruptions_by_hand() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = 200
    out = corrupt(image, "contrast", 4, np.random.default_rng(0))  # mean 100, a tenth stays
    assert (out[:2] == 110).all()
    assert (out[2:] == 90).all()
    image[0, 0] = 100
    out = corrupt(image, "pixelate", 2, np.random.default_rng(0))
    assert (out[:2, :2] == 175).all()
    assert (out[:2, 2:] == 200).all()
    out = corrupt(image, "brightness", 1, np.random.default_rng(0))  # + 25.5
    assert np.abs(out.astype(int) - image - 25.5).max() <= 0.5


def test_corruption_rng_depends_on_image_name_and_seed() -> None:
    first = corruption_rng("/data/a/1.png", "fog").random(4)
    assert np.array_equal(corruption_rng("/elsewhere/1.png", "fog").random(4), first)
    for other in (
        corruption_rng("/data/a/2.png", "fog"),
        corruption_rng("/data/a/1.png", "snow"),
        corruption_rng("/data/a/1.png", "fog", seed=1),
    ):
        assert not np.array_equal(other.random(4), first)
    # Kept results depend on this value.
    assert corruption_rng("1.png", "fog").integers(0, 2**31) == 82017797


@pytest.mark.parametrize("level", [-1, 6, 1.5, "3", True, None])
def test_corrupt_refuses_other_levels(level: object) -> None:
    for call in (CORRUPTIONS["fog"], lambda *args: corrupt(args[0], "fog", *args[1:])):
        with pytest.raises(ValueError, match="fog: level is .* give 1 to 5, or 0"):
            call(_image(), level, np.random.default_rng(0))


def test_corrupt_refuses_other_names_and_images() -> None:
    with pytest.raises(ValueError, match="'rain' is not one of gaussian_noise, shot_noise"):
        corrupt(_image(), "rain", 1, np.random.default_rng(0))
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"give \(H, W, 3\) uint8"):
            corrupt(image, "fog", 1, np.random.default_rng(0))
