"""Two views of one crop, and the masks in it."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data.transforms import (
    AugInput,
    AugmentationList,
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    ResizeTransform,
    Transform,
    VFlipTransform,
)
from ovseg_d2.data import shapes
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.data.mappers import MaskMapper
from ovseg_d2.data.mappers.geometry import transform_masks
from ovseg_d2.data.masks import ShapesRegions
from ovseg_d2.data.sampler import Draw, numpy_seeded
from ovseg_d2.data.views import StrongView
from ovseg_d2.masks import MaskFileError, write_masks

SHAPES = {"file_name": "shapes://train/0/2", "image_id": 2}
NO_COLORS = {"jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": 0.0}
PIXELS = np.random.default_rng(0).integers(1, 256, (12, 20, 3), dtype=np.uint8)


def draws(count: int) -> list[Draw]:
    return [Draw(index=0, seed=0, position=position) for position in range(count)]


def hwc(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


@pytest.fixture
def entry(tmp_path) -> dict:
    """The dict of an image file whose masks are the bright pixels of its channels."""
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    write_masks(tmp_path / "m.json", PIXELS.transpose(2, 0, 1) > 127)
    return {
        "file_name": str(tmp_path / "image.png"),
        "masks_file_name": str(tmp_path / "m.json"),
    }


def plain(**options) -> MaskMapper:
    return MaskMapper(**{"distort_weak": False, **options})


# --- masks through transforms


def test_transform_masks_by_hand():
    masks = np.array([[[1, 0, 0, 0], [0, 0, 0, 1]]], dtype=bool)
    flipped = transform_masks(masks, [HFlipTransform(4)])
    assert flipped.astype(int).tolist() == [[[0, 0, 0, 1], [1, 0, 0, 0]]]
    assert np.array_equal(transform_masks(masks, [VFlipTransform(2)]), masks[:, ::-1])
    # x, y, width, height; then both sides doubled.
    steps = [CropTransform(2, 0, 2, 2), ResizeTransform(2, 2, 4, 4), NoOpTransform()]
    grown = transform_masks(masks, steps)
    assert grown.astype(int).tolist() == [[[0] * 4, [0] * 4, [0, 0, 1, 1], [0, 0, 1, 1]]]
    # The middle of three pixels is the nearest one.
    shrunk = transform_masks(np.eye(3, dtype=bool)[None], [ResizeTransform(3, 3, 1, 1)])
    assert shrunk.tolist() == [[[True]]]


def test_transform_masks_stay_on_their_objects():
    # The image has levels 0 and 255, so that its resized version shows the mask.
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    image[8:22, 10:31] = 255
    geometry = [
        ResizeShortestEdge([24, 60], 100, "choice"),
        RandomCrop("absolute", [20, 22]),
        RandomFlip(),
    ]
    for draw in draws(20):
        inputs = AugInput(image)
        with numpy_seeded(draw):
            transforms = AugmentationList(geometry)(inputs).transforms
        (mask,) = transform_masks(image[None, :, :, 0] > 0, transforms)
        assert mask.shape == inputs.image.shape[:2] == (20, 22)
        sure = (inputs.image[..., 0] < 60) | (inputs.image[..., 0] > 195)
        assert sure.mean() > 0.7
        assert np.array_equal(mask[sure], inputs.image[..., 0][sure] > 127)


def test_transform_masks_takes_any_number():
    masks = np.random.default_rng(0).random((300, 5, 4)) < 0.5
    grown = transform_masks(masks, [ResizeTransform(5, 4, 10, 8)])
    assert grown.flags["C_CONTIGUOUS"]
    assert np.array_equal(grown, masks.repeat(2, axis=1).repeat(2, axis=2))
    assert transform_masks(masks[:0], [ResizeTransform(5, 4, 10, 8)]).shape == (0, 10, 8)


def test_transform_masks_refuses_other_transforms():
    class Bend(Transform):
        def apply_image(self, img):
            return img

        def apply_coords(self, coords):
            return coords

    with pytest.raises(TypeError, match="masks do not go through Bend; resize, crop or flip"):
        transform_masks(np.zeros((1, 2, 2), bool), [Bend()])


# --- samples


def test_mask_mapper_sample_of_a_file(entry):
    sample = plain()(entry, draws(1)[0])
    assert sample["image"].dtype == torch.uint8
    assert sample["masks"].dtype == torch.bool
    np.testing.assert_array_equal(hwc(sample["image"]), PIXELS)
    np.testing.assert_array_equal(hwc(sample["teacher_image"]), PIXELS)
    np.testing.assert_array_equal(sample["masks"].numpy(), PIXELS.transpose(2, 0, 1) > 127)
    assert set(entry) == {"file_name", "masks_file_name"}


def test_mask_mapper_cutout_belongs_to_no_mask(entry):
    mapper = plain(strong=StrongView(**NO_COLORS))
    for draw in draws(20):
        sample = mapper(entry, draw)
        black = (hwc(sample["image"]) == 0).all(axis=2)
        assert 0 < black.mean() < 0.3
        np.testing.assert_array_equal(hwc(sample["teacher_image"]), PIXELS)
        np.testing.assert_array_equal(hwc(sample["image"])[~black], PIXELS[~black])
        expected = (PIXELS.transpose(2, 0, 1) > 127) & ~black
        np.testing.assert_array_equal(sample["masks"].numpy(), expected)


def test_mask_mapper_views_and_masks_share_geometry(entry):
    geometry = [
        ResizeShortestEdge([12, 24], 60, "choice"),
        RandomCrop("relative_range", [0.5, 0.5]),
        RandomFlip(),
    ]
    mapper = plain(geometry=geometry, strong=StrongView(**NO_COLORS, cutout=(0.0, 0.0)))
    sizes = set()
    for draw in draws(20):
        sample = mapper(entry, draw)
        assert torch.equal(sample["image"], sample["teacher_image"])
        assert sample["masks"].shape[-2:] == sample["image"].shape[-2:]
        sizes.add(tuple(sample["image"].shape[-2:]))
        if sample["image"].shape == (3, 12, 20):
            assert torch.equal(sample["masks"], sample["image"] > 127)
    assert len(sizes) > 5


def test_mask_mapper_distorts_both_views(entry):
    mapper = MaskMapper(distort_weak=True)
    samples = [mapper(entry, draw) for draw in draws(10)]
    assert all(torch.equal(sample["image"], sample["teacher_image"]) for sample in samples)
    changed = [not np.array_equal(hwc(sample["image"]), PIXELS) for sample in samples]
    assert sum(changed) > 5


def test_mask_mapper_depends_on_the_draw_alone():
    mapper = MaskMapper.from_config(load_config(None, ["INPUT.MASKS_PER_IMAGE", "2"]))
    images = []
    for draw in draws(6):
        np.random.seed(draw.position)
        first, again = mapper(SHAPES, draw), mapper(SHAPES, draw._replace(index=7))
        for key in ("image", "teacher_image", "masks"):
            assert torch.equal(first[key], again[key])
        images.append(first["image"].numpy().tobytes())
    assert len(set(images)) == 6


def test_mask_mapper_restores_global_generators(entry):
    state = np.random.get_state()[1].copy()
    torch_state = torch.get_rng_state()
    mapper = MaskMapper(strong=StrongView(), geometry=[RandomFlip()])
    mapper(entry, draws(1)[0])
    assert np.array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_mask_mapper_max_masks(tmp_path, entry):
    masks = np.zeros((9, 12, 20), dtype=bool)
    for number in range(8):  # the last mask stays empty
        masks[number, number] = True
    write_masks(tmp_path / "m.json", masks)
    assert len(plain()(entry, draws(1)[0])["masks"]) == 8
    drawn = [plain(max_masks=3)(entry, draw)["masks"].numpy() for draw in draws(80)]
    ids = [sample.any(axis=2).argmax(axis=1).tolist() for sample in drawn]
    assert all(len(set(kept)) == 3 and kept == sorted(kept) for kept in ids)
    counts = np.bincount(np.concatenate(ids), minlength=8)
    # 80 * 3 / 8 = 30 each; the standard deviation is 4.3.
    assert counts.min() > 10
    assert counts.max() < 50
    assert len(plain(max_masks=20)(entry, draws(1)[0])["masks"]) == 8


def test_mask_mapper_image_without_masks(tmp_path, entry):
    write_masks(tmp_path / "m.json", np.zeros((0, 12, 20), dtype=bool))
    mapper = MaskMapper(strong=StrongView(), max_masks=4, geometry=[RandomFlip()])
    sample = mapper(entry, draws(1)[0])
    assert sample["masks"].shape == (0, 12, 20)
    assert sample["masks"].dtype == torch.bool
    assert sample["image"].shape == (3, 12, 20)


def test_mask_mapper_exact_regions():
    sample = plain(source=ShapesRegions())(SHAPES, draws(1)[0])
    regions = torch.from_numpy(shapes.read_regions(SHAPES["file_name"]).copy())
    for mask in sample["masks"]:
        assert len(regions[mask].unique()) == 1
    assert torch.equal(sample["masks"].sum(dim=0), torch.ones(96, 96, dtype=torch.long))


def test_mask_mapper_default_source_of_other_images(entry, caplog):
    mapper = MaskMapper.from_config(load_config(None, ["INPUT.MIN_SIZE_TRAIN", "(12,)"]))
    assert len(mapper(SHAPES, draws(1)[0])["masks"]) and not caplog.text
    stored = mapper(entry, draws(1)[0])
    assert len(stored["masks"]) == 3 and not caplog.text
    del entry["masks_file_name"]
    for _ in range(2):
        made = mapper(entry, draws(1)[0])["masks"]
        covered = made.sum(dim=0)
        assert covered.max() == 1  # felzenszwalb's masks are disjoint
    assert caplog.text.count("masks of all other images are made by felzenszwalb") == 1


def test_mask_mapper_bgr(entry):
    sample = plain(image_format="BGR")(entry, draws(1)[0])
    for key in ("image", "teacher_image"):
        np.testing.assert_array_equal(hwc(sample[key]), PIXELS[..., ::-1])


# --- bad input


def test_mask_mapper_leaves_out_unreadable_files(tmp_path, entry, caplog):
    assert plain()({**entry, "file_name": str(tmp_path / "none.png")}, draws(1)[0]) is None
    (tmp_path / "m.json").write_text('{"annotations": [')
    assert plain()(entry, draws(1)[0]) is None
    write_masks(tmp_path / "m.json", np.ones((1, 20, 12), dtype=bool))
    assert plain()(entry, draws(1)[0]) is None
    assert caplog.text.count("left out of training") == 3
    for words in ("none.png", "truncated", "20 x 12 pixels (height x width) and the image is 12"):
        assert words in caplog.text


def test_mask_mapper_entry_without_a_mask_file(entry):
    del entry["masks_file_name"]
    with pytest.raises(ValueError, match="image.png: its entry has no 'masks_file_name'; add it"):
        plain()(entry, draws(1)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_masks": -1}, "set INPUT.MASKS_PER_IMAGE to 0 or more"),
        ({"image_format": "YUV"}, "INPUT.FORMAT 'YUV' is not one of RGB, BGR"),
    ],
)
def test_mask_mapper_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        MaskMapper(**arguments)


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (["INPUT.MASKS.SOURCE", "sam"], "INPUT.MASKS.SOURCE is 'sam'; it takes one of 'shapes'"),
        (["INPUT.RANDOM_FLIP", "both"], "INPUT.RANDOM_FLIP is 'both'; it takes one of 'none'"),
        (["INPUT.VIEWS.CUTOUT", "[0.5, 0.1]"], "INPUT.VIEWS.CUTOUT is .*the smaller one first"),
    ],
)
def test_mask_mapper_wrong_configs(opts, words):
    with pytest.raises(ValueError, match=words):
        MaskMapper.from_config(load_config(None, opts))


def test_mask_mapper_folder_without_masks(tmp_path):
    opts = ["INPUT.MASKS.SOURCE", "stored", "INPUT.MASKS.FOLDER", str(tmp_path)]
    with pytest.raises(MaskFileError, match="holds no masks .*; fill it with"):
        MaskMapper.from_config(load_config(None, opts))


# --- from a config

QUIET = [
    *("INPUT.VIEWS.DISTORT_WEAK", "False", "INPUT.VIEWS.JITTER_PROB", "0.0"),
    *("INPUT.VIEWS.GREY_PROB", "0.0", "INPUT.VIEWS.BLUR_PROB", "0.0"),
    *("INPUT.RANDOM_FLIP", "none", "INPUT.MIN_SIZE_TRAIN", "(0,)"),
]


def test_mask_mapper_stored_masks(tmp_path, entry):
    opts = [*QUIET, "INPUT.VIEWS.CUTOUT", "[0.0, 0.0]", "INPUT.MASKS.SOURCE", "stored"]
    mapper = MaskMapper.from_config(load_config(None, opts))
    assert len(mapper(entry, draws(1)[0])["masks"]) == 3
    (tmp_path / "below").mkdir()
    write_masks(tmp_path / "below" / "image.json", np.ones((1, 12, 20), dtype=bool))
    opts += ["INPUT.MASKS.FOLDER", str(tmp_path / "below")]
    mapper = MaskMapper.from_config(load_config(None, opts))
    assert mapper(entry, draws(1)[0])["masks"].all()


def test_mask_mapper_caches_masks(monkeypatch, entry):
    from skimage import segmentation

    made = segmentation.felzenszwalb
    calls = []
    monkeypatch.setattr(
        segmentation, "felzenszwalb", lambda *a, **k: calls.append(k) or made(*a, **k)
    )
    opts = [*QUIET, "INPUT.MASKS.SOURCE", "felzenszwalb", "INPUT.MASKS.FELZENSZWALB.SCALE", "5.0"]
    mapper = MaskMapper.from_config(load_config(None, opts))
    for draw in draws(3):
        mapper(entry, draw)
    assert len(calls) == 1
    assert (calls[0]["scale"], calls[0]["sigma"], calls[0]["min_size"]) == (5.0, 0.8, 50)
    mapper = MaskMapper.from_config(load_config(None, [*opts, "INPUT.MASKS.CACHE_MB", "0"]))
    for draw in draws(2):
        mapper(entry, draw)
    assert len(calls) == 3


def test_mask_mapper_geometry_from_config(entry):
    opts = ["INPUT.MASKS.SOURCE", "stored", "INPUT.MIN_SIZE_TRAIN", "(24,)", "INPUT.CROP.ENABLED"]
    opts += ["True", "INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "[16, 18]"]
    sample = MaskMapper.from_config(load_config(None, opts))(entry, draws(1)[0])
    assert sample["image"].shape == sample["teacher_image"].shape == (3, 16, 18)
    assert sample["masks"].shape[1:] == (16, 18)


def test_mask_mapper_can_be_pickled():
    mapper = MaskMapper.from_config(load_config(None, ["INPUT.MASKS.SOURCE", "felzenszwalb"]))
    sample = pickle.loads(pickle.dumps(mapper))(SHAPES, draws(1)[0])
    assert torch.equal(sample["masks"], mapper(SHAPES, draws(1)[0])["masks"])


def test_train_loader_of_masks():
    opts = ["INPUT.TRAIN_MAPPER", "masks", "DATASETS.TRAIN", "('ovseg_shapes_dev',)"]
    opts += ["SOLVER.IMS_PER_BATCH", "4", "INPUT.MIN_SIZE_TRAIN", "(80,)"]
    batch = next(iter(build_train_loader(load_config(None, opts))))
    assert len(batch) == 4
    for sample in batch:
        assert sample["image"].shape == sample["teacher_image"].shape == (3, 80, 80)
        assert not torch.equal(sample["image"], sample["teacher_image"])
        assert sample["masks"].shape[1:] == (80, 80)
        assert sample["masks"].any(dim=2).any(dim=1).all()


def test_mask_mapper_dino_clusters():
    opts = [*QUIET, "INPUT.MASKS.SOURCE", "dino", "INPUT.MASKS.DINO.MODEL", "vit_tiny_patch16_224"]
    opts += ["INPUT.MASKS.DINO.WEIGHTS", "random", "INPUT.MASKS.DINO.NUM_CLUSTERS", "3"]
    opts += ["INPUT.MASKS.DINO.SIZE", "32", "INPUT.VIEWS.CUTOUT", "[0.0, 0.0]"]
    mapper = MaskMapper.from_config(load_config(None, opts))
    masks = mapper(SHAPES, draws(1)[0])["masks"]
    assert masks.shape == (3, 96, 96)
    # Two by two patches of 48 pixels.
    assert torch.equal(
        masks[:, 24::48, 24::48].repeat_interleave(48, 1).repeat_interleave(48, 2), masks
    )
