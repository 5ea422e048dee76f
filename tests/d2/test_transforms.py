"""Contract of transforms and augmentations, with detectron2 and with the stand-in."""

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.data import transforms as T

standin_only = pytest.mark.skipif(HAS_DETECTRON2, reason="goes beyond detectron2")


@pytest.fixture
def image():
    """(6, 8, 3) uint8 of which every value occurs once."""
    return np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


class _Recorder(T.Augmentation):
    """Keeps what it was shown, and changes nothing."""

    def get_transform(self, image, sem_seg):
        self.shown = image, sem_seg
        return T.NoOpTransform()


def test_get_transform_gets_the_inputs_its_parameters_name(image):
    labels = image[:, :, 0]
    recorder = _Recorder()
    recorder(T.AugInput(image, sem_seg=labels))
    assert recorder.shown[0] is image
    assert recorder.shown[1] is labels


def test_get_transform_with_one_parameter_gets_the_image(image):
    class Recorder(T.Augmentation):
        def get_transform(self, any_name):
            self.shown = any_name
            return T.NoOpTransform()

    recorder = Recorder()
    recorder(T.AugInput(image))
    assert recorder.shown is image


def test_augmentation_reads_attributes_of_any_input(image):
    class DepthInput(T.AugInput):
        depth = 3

    class Recorder(T.Augmentation):
        def get_transform(self, depth, image):
            self.shown = depth
            return T.NoOpTransform()

    recorder = Recorder()
    recorder(DepthInput(image))
    assert recorder.shown == 3
    with pytest.raises(AttributeError, match="needs input attribute 'depth'"):
        Recorder()(T.AugInput(image))


def test_augmentation_without_parameter_names(image):
    class Vague(T.Augmentation):
        def get_transform(self, image, *args):
            return T.NoOpTransform()

    with pytest.raises(TypeError, match=r"\*args"):
        Vague()(T.AugInput(image))


def test_augmentation_must_choose_a_transform(image):
    class Forgetful(T.Augmentation):
        def get_transform(self, image):
            return None

    with pytest.raises(AssertionError, match="must return an instance of Transform"):
        Forgetful()(T.AugInput(image))


def test_input_must_be_an_array(image):
    with pytest.raises(AssertionError):
        T.AugInput(image.tolist())
    with pytest.raises(AssertionError):
        T.AugInput(image[0, 0])


def test_input_is_transformed_as_a_whole():
    image = np.array([[1, 2, 3]], dtype=np.uint8)
    aug_input = T.AugInput(image, sem_seg=image * 10)
    aug_input.transform(T.HFlipTransform(3))
    assert aug_input.image.tolist() == [[3, 2, 1]]
    assert aug_input.sem_seg.tolist() == [[30, 20, 10]]


def test_list_hands_each_the_work_of_the_one_before(image):
    recorder = _Recorder()
    flip = T.RandomFlip(prob=1.0)
    augs = T.AugmentationList([flip, recorder, T.ResizeShortestEdge(12)])
    aug_input = T.AugInput(image, sem_seg=image[:, :, 0])
    tfms = augs(aug_input)
    assert np.array_equal(recorder.shown[0], image[:, ::-1])
    assert np.array_equal(recorder.shown[1], image[:, ::-1, 0])
    assert aug_input.image.shape == (12, 16, 3)
    kinds = [T.HFlipTransform, T.NoOpTransform, T.ResizeTransform]
    assert [type(tfm) for tfm in tfms.transforms] == kinds
    assert np.array_equal(tfms.apply_image(image), aug_input.image)


def test_list_takes_nothing_else():
    with pytest.raises(AssertionError):
        T.AugmentationList([T.RandomFlip(), "resize"])


def test_augmentation_must_be_defined(image):
    with pytest.raises(NotImplementedError):
        T.Augmentation().get_transform(image)


def test_flip_is_certain_or_never(image):
    for _ in range(10):
        assert isinstance(T.RandomFlip(prob=0.0).get_transform(image), T.NoOpTransform)
        tfm = T.RandomFlip(prob=1.0, horizontal=False, vertical=True).get_transform(image)
        assert np.array_equal(tfm.apply_image(image), image[::-1])


def test_flip_comes_about_as_often_as_told(image):
    flip = T.RandomFlip(prob=0.25)
    flipped = sum(isinstance(flip.get_transform(image), T.HFlipTransform) for _ in range(1000))
    assert 190 < flipped < 310  # four standard deviations


@pytest.mark.parametrize("both", [True, False])
def test_flip_has_one_direction(both):
    with pytest.raises(ValueError, match="(?i)two.*flip|at least one|one direction"):
        T.RandomFlip(horizontal=both, vertical=both)


@pytest.mark.parametrize(
    ("size", "length", "max_size", "new_size"),
    [
        ((480, 640), 640, 1333, (640, 853)),  # 853.3
        ((640, 480), 640, 1333, (853, 640)),
        ((480, 640), 800, 1000, (750, 1000)),  # 1066.7 is too long
        ((640, 480), 800, 1000, (1000, 750)),
        ((10, 10), 7, 100, (7, 7)),
        ((2, 5), 1, 100, (1, 3)),  # 2.5, halves go up
        ((100, 300), 50, 75, (25, 75)),
    ],
)
def test_shortest_edge(size, length, max_size, new_size):
    tfm = T.ResizeShortestEdge(length, max_size).get_transform(np.zeros(size, dtype=np.uint8))
    assert (tfm.h, tfm.w, tfm.new_h, tfm.new_w) == (*size, *new_size)
    assert tfm.apply_image(np.zeros(size, dtype=np.uint8)).shape == new_size


def test_shortest_edge_draws_its_length():
    image = np.zeros((50, 60), dtype=np.uint8)
    choice = T.ResizeShortestEdge([10, 14, 30], sample_style="choice")
    assert {choice.get_transform(image).new_h for _ in range(100)} == {10, 14, 30}
    between = T.ResizeShortestEdge((10, 14), sample_style="range")
    assert {between.get_transform(image).new_h for _ in range(200)} == {10, 11, 12, 13, 14}


def test_shortest_edge_zero_leaves_the_image(image):
    assert isinstance(T.ResizeShortestEdge(0).get_transform(image), T.NoOpTransform)


def test_shortest_edge_arguments():
    with pytest.raises(AssertionError):
        T.ResizeShortestEdge(10, sample_style="gauss")
    with pytest.raises(AssertionError, match="two values"):
        T.ResizeShortestEdge((10, 11, 12), sample_style="range")


def test_scale_fits_the_image_into_a_box_of_random_size():
    image = np.zeros((30, 40), dtype=np.uint8)
    scale = T.ResizeScale(0.5, 2.0, 20, 20)
    resizes = [scale.get_transform(image) for _ in range(300)]
    assert {max(resize.new_h, resize.new_w) for resize in resizes} == set(range(10, 41))
    assert all(abs(resize.new_h - 0.75 * resize.new_w) <= 0.75 for resize in resizes)
    upright = T.ResizeScale(1.0, 1.0, 20, 50).get_transform(image)
    assert (upright.new_h, upright.new_w) == (20, 27)
    assert upright.apply_image(image).shape == (20, 27)


def test_resize_of_uint8_is_pillows(image):
    tfm = T.ResizeTransform(6, 8, 5, 3)
    expected = np.asarray(Image.fromarray(image).resize((3, 5), Image.Resampling.BILINEAR))
    assert np.array_equal(tfm.apply_image(image), expected)
    expected = np.asarray(Image.fromarray(image).resize((3, 5), Image.Resampling.BICUBIC))
    assert np.array_equal(tfm.apply_image(image, interp=Image.Resampling.BICUBIC), expected)
    assert np.array_equal(
        T.ResizeTransform(6, 8, 5, 3, Image.Resampling.BICUBIC).apply_image(image), expected
    )


def test_resize_keeps_a_channel_axis_of_one(image):
    resized = T.ResizeTransform(6, 8, 5, 3).apply_image(image[:, :, :1].copy())
    assert resized.shape == (5, 3, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resize_of_floats_interpolates_between_pixel_centres(dtype):
    tfm = T.ResizeTransform(1, 2, 1, 4)
    row = np.array([[0.0, 1.0]], dtype=dtype)
    resized = tfm.apply_image(row)
    assert resized.dtype == dtype
    assert resized.tolist() == [[0.0, 0.25, 0.75, 1.0]]
    assert tfm.apply_image(row[:, ::-1]).tolist() == [[1.0, 0.75, 0.25, 0.0]]
    assert tfm.apply_image(row[:, :, None]).shape == (1, 4, 1)
    colours = np.dstack([row, row * 2, row * 3])
    assert tfm.apply_image(colours)[0, 1].tolist() == [0.25, 0.5, 0.75]
    assert tfm.apply_segmentation(row).tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_resize_mixes_no_labels():
    labels = np.array([[0, 255], [7, 3]], dtype=np.uint8)
    resized = T.ResizeTransform(2, 2, 4, 6).apply_segmentation(labels)
    assert np.array_equal(resized, labels.repeat(2, axis=0).repeat(3, axis=1))


def test_resize_of_points_and_boxes():
    tfm = T.ResizeTransform(10, 20, 30, 10)
    assert tfm.apply_coords(np.array([[4.0, 5.0], [20.0, 10.0]])).tolist() == [[2, 15], [10, 30]]
    assert tfm.apply_box(np.array([[4.0, 5.0, 20.0, 10.0]])).tolist() == [[2, 15, 10, 30]]


def test_resize_of_another_size(image):
    with pytest.raises(AssertionError):
        T.ResizeTransform(8, 6, 3, 3).apply_image(image)


@standin_only
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, bool])
@pytest.mark.parametrize("new_size", [(3, 4), (7, 19), (23, 5)])
def test_resize_gives_the_same_labels_in_any_integer_type(dtype, new_size):
    labels = np.random.randint(0, 2, (11, 13)).astype(np.uint8)
    tfm = T.ResizeTransform(11, 13, *new_size)
    resized = tfm.apply_segmentation(labels.astype(dtype))
    assert resized.dtype == dtype
    assert np.array_equal(resized, tfm.apply_segmentation(labels))


@standin_only
def test_resize_does_not_interpolate_integers():
    with pytest.raises(TypeError, match="int64.*apply_segmentation"):
        T.ResizeTransform(2, 2, 4, 4).apply_image(np.zeros((2, 2), dtype=np.int64))


@pytest.mark.parametrize(
    ("crop_type", "crop_size", "heights", "widths"),
    [
        ("absolute", (4, 5), {4}, {5}),
        ("absolute", (100, 5), {20}, {5}),
        ("absolute_range", (3, 5), {3, 4, 5}, {3, 4, 5}),
        ("absolute_range", (19, 100), {19, 20}, set(range(19, 31))),
        ("relative", (0.5, 0.25), {10}, {8}),  # 7.5, halves go up
        ("relative_range", (0.9, 1.0), {18, 19, 20}, {30}),
    ],
)
def test_crop_size(crop_type, crop_size, heights, widths):
    crop = T.RandomCrop(crop_type, crop_size)
    sizes = [crop.get_crop_size((20, 30)) for _ in range(300)]
    assert {height for height, _ in sizes} == heights
    assert {width for _, width in sizes} == widths


def test_crop_lies_anywhere_inside():
    image = np.arange(30).reshape(5, 6).astype(np.uint8)
    crop = T.RandomCrop("absolute", (4, 4))
    corners = set()
    for _ in range(200):
        aug_input = T.AugInput(image, sem_seg=image)
        tfm = crop(aug_input)
        assert np.array_equal(aug_input.image, image[tfm.y0 : tfm.y0 + 4, tfm.x0 : tfm.x0 + 4])
        assert np.array_equal(aug_input.sem_seg, aug_input.image)
        assert aug_input.image.shape == (4, 4)
        corners.add((tfm.y0, tfm.x0))
    assert corners == {(y, x) for y in (0, 1) for x in (0, 1, 2)}


def test_crop_type_is_one_of_four():
    with pytest.raises(AssertionError):
        T.RandomCrop("golden", (1, 1))


def test_crop_range_goes_upwards(image):
    with pytest.raises(AssertionError):
        T.RandomCrop("absolute_range", (5, 3)).get_transform(image)


def _crop_labels(labels, **kwargs):
    crop = T.RandomCrop_CategoryAreaConstraint("absolute", (4, 20), **kwargs)
    aug_input = T.AugInput(labels.astype(np.uint8), sem_seg=labels)
    crop(aug_input)
    assert aug_input.sem_seg.shape == (4, 20)
    assert np.array_equal(aug_input.sem_seg, aug_input.image)
    return aug_input.sem_seg


def test_crop_is_not_filled_by_one_category():
    # 15 of the 21 places are good, so that ten trials fail once in 280 000 times.
    labels = np.repeat([[0] * 20 + [1] * 20], 4, axis=0)
    shares = [
        np.bincount(_crop_labels(labels, single_category_max_area=0.9).ravel()).max() / 80
        for _ in range(50)
    ]
    assert max(shares) < 0.9
    free = [np.bincount(_crop_labels(labels).ravel()).max() / 80 for _ in range(200)]
    assert max(free) == 1.0


def test_crop_does_not_count_the_ignored_category():
    labels = np.repeat([[255] * 20 + [0, 1] * 10], 4, axis=0)

    def largest_share(**kwargs):
        crops = [_crop_labels(labels, single_category_max_area=0.8, **kwargs) for _ in range(50)]
        return max((crop == 255).mean() for crop in crops)

    assert largest_share() < 0.8
    assert largest_share(ignored_category=255) >= 0.8


def test_crop_gives_up_where_there_is_one_category():
    labels = np.full((10, 40), 3)
    assert (_crop_labels(labels, single_category_max_area=0.5) == 3).all()
