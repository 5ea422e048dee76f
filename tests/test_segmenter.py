"""Segmenter: images and words of every form; labels, heat maps, attention and warnings."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ovseg_d2 import image_errors
from ovseg_d2.clip import attention_to_texts
from ovseg_d2.config import load_config
from ovseg_d2.data.images import ImageReadError
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.image_errors import ImageTooLargeError
from ovseg_d2.segmenter import Segmenter
from ovseg_d2.vocab import Vocabulary

WORDS = "red star, grass | lawn, brick = brick wall"


@pytest.fixture
def segment(tiny_opts):
    torch.manual_seed(0)
    return Segmenter(opts=tiny_opts)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)


def save(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def test_example_of_the_readme(tiny_opts, tmp_path, rgb):
    image = save(tmp_path, rgb)
    segment = Segmenter(opts=tiny_opts)
    paths = segment(str(image), "red star, grass").save(tmp_path / "out")
    assert all(path.is_file() for path in paths.values())


def test_call_gives_labels_of_the_best_scores(segment, rgb):
    result = segment(rgb, WORDS)
    assert result.vocabulary.names == ("red star", "grass", "brick")
    assert result.labels.shape == (21, 34) and result.labels.dtype == np.int64
    assert np.array_equal(result.image, rgb)
    batch = {"image": torch.from_numpy(rgb).permute(2, 0, 1), "classes": WORDS}
    scores = segment.model([batch])[0]["sem_seg"]
    assert np.array_equal(result.labels, scores.argmax(0).numpy())


@pytest.mark.parametrize(
    "classes", [{"dog": ["puppy"], "sky": []}, [["dog", "puppy"], "sky"], "dog | puppy; sky"]
)
def test_call_takes_synonyms_in_every_form(segment, rgb, classes):
    expected = Vocabulary.from_names(["dog", "sky"], synonyms=[["dog", "puppy"], ["sky"]])
    assert segment(rgb, classes).vocabulary == expected
    assert segment.model.vocabulary_of({"classes": classes}) == expected
    segment.model.set_vocabulary(classes)
    assert segment(rgb).vocabulary == expected


@pytest.mark.parametrize("classes", [["red star", "grass"], Vocabulary.from_names(["a", "b"])])
def test_call_takes_words_in_every_form(segment, rgb, classes):
    names = classes.names if isinstance(classes, Vocabulary) else tuple(classes)
    assert segment(rgb, classes).vocabulary.names == names


def test_call_without_words_takes_the_models(tiny_opts, rgb):
    segment = Segmenter(opts=[*tiny_opts, "MODEL.TEXT.CLASSES", "['a', 'b']"])
    assert segment(rgb).vocabulary.names == ("a", "b")
    segment.model.set_vocabulary("c")
    assert segment(rgb).vocabulary.names == ("c",)


def test_call_takes_files_and_pillow_images(segment, rgb, tmp_path):
    expected = segment(rgb, WORDS)
    path = save(tmp_path, rgb)
    for form in (path, str(path), Image.fromarray(rgb), Image.open(path)):
        result = segment(form, WORDS)
        assert np.array_equal(result.image, rgb)
        assert np.array_equal(result.labels, expected.labels)


def test_call_takes_shapes_world_names(segment):
    assert segment("shapes://val/0/3", "red star, grass").labels.shape == (96, 96)


def test_call_reads_grey_transparent_deep_and_turned_files(segment, tmp_path):
    grey = np.array([[0, 10], [200, 255], [7, 8]], np.uint8)
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    result = segment(save(tmp_path, grey), WORDS)
    assert np.array_equal(result.image, as_rgb)
    deep = save(tmp_path, grey.astype(np.uint16) * 257, "deep.png")
    assert np.array_equal(segment(deep, WORDS).image, as_rgb)
    rgba = np.dstack([as_rgb, np.full((3, 2), 0, np.uint8)])
    assert (segment(save(tmp_path, rgba, "clear.png"), WORDS).image == 255).all()
    turned = Image.Exif()
    turned[0x0112] = 6
    turned = save(tmp_path, as_rgb, "turned.png", exif=turned)
    assert np.array_equal(segment(turned, WORDS).image, np.rot90(as_rgb, -1))


def test_call_reads_pillow_images_as_files(segment, tmp_path):
    grey = np.array([[0, 10], [200, 255], [7, 8]], np.uint8)
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    clear = Image.fromarray(np.dstack([as_rgb, grey * 0 + 128]))
    exif = Image.Exif()
    exif[0x0112] = 8
    for image, options in (
        (Image.fromarray(grey), {}),
        (clear, {}),
        (Image.fromarray(as_rgb), {"exif": exif}),
    ):
        path = save(tmp_path, image, **options)
        with Image.open(path) as opened:
            assert np.array_equal(segment(opened, WORDS).image, segment(path, WORDS).image)
    with pytest.raises(ValueError, match=r"mode 'I;16' and size \(2, 3\); give pixels of 8 bits"):
        segment(Image.fromarray(grey.astype(np.uint16)), WORDS)
    with pytest.raises(ValueError, match=r"size \(0, 3\)"):
        segment(Image.new("RGB", (0, 3)), WORDS)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 9)])
@pytest.mark.parametrize("min_size", [0, 24])
def test_call_on_small_and_narrow_images(tiny_opts, tmp_path, size, min_size):
    segment = Segmenter(opts=[*tiny_opts, "INPUT.MIN_SIZE_TEST", str(min_size)])
    result = segment(np.full((*size, 3), 90, np.uint8), WORDS)
    assert result.labels.shape == size
    paths = result.save(tmp_path)
    with Image.open(paths["labels"]) as labels:
        assert labels.size == size[::-1]
    with Image.open(paths["overlay"]) as overlay:
        assert overlay.height >= size[0] and overlay.width >= size[1]


def test_call_on_a_long_image_under_a_size_limit(tiny_opts):
    opts = ["INPUT.MIN_SIZE_TEST", "24", "INPUT.MAX_SIZE_TEST", "32"]
    result = Segmenter(opts=[*tiny_opts, *opts])(np.zeros((1, 500, 3), np.uint8), WORDS)
    assert result.labels.shape == (1, 500)


def test_call_does_not_depend_on_input_format(tiny_opts, rgb):
    torch.manual_seed(0)
    plain = Segmenter(opts=tiny_opts)(rgb, WORDS).labels
    torch.manual_seed(0)
    bgr = Segmenter(opts=[*tiny_opts, "INPUT.FORMAT", "BGR"])(rgb, WORDS).labels
    assert np.array_equal(bgr, plain) and np.unique(plain).size > 1


def test_call_refuses_arrays(segment):
    with pytest.raises(ValueError, match=r"has shape \(0, 5, 3\); give the name of a file"):
        segment(np.zeros((0, 5, 3), np.uint8), WORDS)


def test_call_takes_arrays_and_tensors(segment, rgb):
    expected = segment(rgb, WORDS)
    floats = torch.from_numpy(rgb).permute(2, 0, 1) / 255
    for form in (floats, floats.permute(1, 2, 0), floats.double().numpy(), rgb.transpose(2, 0, 1)):
        assert segment(form, WORDS) == expected
    with pytest.raises(ValueError, match="floats from 0 to 255; bring them to 0..1"):
        segment(255 * floats / floats.max(), WORDS)


def test_call_with_several_images_gives_a_list(segment, rgb, tmp_path):
    path = save(tmp_path, rgb)
    result = segment([str(path), rgb[:5]], WORDS)
    assert result == [segment(rgb, WORDS), segment(rgb[:5], WORDS)]
    assert segment((), WORDS) == []
    for strange in ([rgb.tolist()], [3], [None]):
        with pytest.raises(ValueError, match="the image is a (int|NoneType)"):
            segment(strange, WORDS)
    with pytest.raises(ValueError, match="the image is a list"):
        segment.heatmaps([rgb], WORDS)


def test_results_compare_by_value(segment, rgb):
    result = segment(rgb, WORDS)
    assert result == segment(rgb, WORDS)
    assert result != segment(rgb[:5], WORDS) and result != segment(rgb, "a, b, c")
    assert result != dataclasses.replace(result, labels=1 - result.labels) and result != "text"
    maps = segment.heatmaps(rgb, WORDS)
    assert maps == segment.heatmaps(rgb, WORDS)
    assert maps != segment.heatmaps(rgb, "a, b, c") and maps != result


def test_call_refuses_addresses(segment):
    with pytest.raises(ImageReadError, match="it is an address, and nothing is downloaded"):
        segment("https://host/image.png", WORDS)


def test_maps_refuse_more_than_memory(segment, rgb, monkeypatch):
    monkeypatch.setattr(image_errors, "available_memory", lambda device: 10)
    monkeypatch.setattr(image_errors, "_ALWAYS_ALLOWED", 20_000)
    for maps in (segment.heatmaps, segment.attention):
        with pytest.raises(
            ImageTooLargeError, match="the image given: the maps of 4 words at 34 x 21"
        ):
            maps(rgb, "a, b, c, d")


def test_call_names_unreadable_files(segment, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    for name, problem in (("none.png", "no such"), ("empty.png", "0 bytes"), ("broken.jpg", "")):
        with pytest.raises(ImageReadError, match=f"cannot read {tmp_path}/{name}.*{problem}"):
            segment(tmp_path / name, WORDS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "name nothing"),
        (",", "entry 1 of 2 is empty"),
        ([], "at least one class"),
        ("grass, sky, Grass", "repeat a class: 'grass'"),
        (None, "no vocabulary"),
        ("grass, " + "very " * 99 + "tall tree", "very very"),
    ],
)
def test_call_refuses_words_before_reading_the_image(segment, words, told):
    for attempt in (segment.choose_words, lambda words: segment("none.png", words)):
        with pytest.raises(ValueError, match=told) as caught:
            attempt(words)
        assert not isinstance(caught.value, ImageReadError)


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_choose_words_warns_once_of_unknown_words(caplog, monkeypatch):
    image = "shapes://dev/0/1"
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    segment = Segmenter(opts=["MODEL.DEVICE", "cpu", "MODEL.TEXT.CLASSES", "['a dog', 'red ring']"])
    segment(image, "red star, blue stripes, grass")
    assert not warned(caplog)
    segment(image, "zebra, grass | meadow")
    segment(image, "zebra, grass, meadow")
    (message,) = warned(caplog)
    assert message.startswith("ShapesCLIP has never seen 'zebra', 'meadow': ")
    assert "MODEL.CLIP.NAME" in message
    segment(image)  # the config's own words
    assert warned(caplog)[1].startswith("ShapesCLIP has never seen 'a dog': ")


def test_choose_words_trusts_larger_models(segment, caplog, monkeypatch, rgb):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    segment(rgb, "zebra, savanna")
    assert not warned(caplog)


def test_init_loads_weights(segment, tiny_opts, tmp_path, rgb):
    expected = segment(rgb, WORDS).labels
    Checkpointer(segment.model, str(tmp_path)).save("saved")
    cfg = load_config(None, [*tiny_opts, "MODEL.WEIGHTS", str(tmp_path / "saved.pth")])
    torch.manual_seed(1)
    assert np.array_equal(Segmenter(cfg)(rgb, WORDS).labels, expected)
    assert not np.array_equal(Segmenter(opts=tiny_opts)(rgb, WORDS).labels, expected)
    torch.save({"other": torch.ones(1)}, tmp_path / "saved.pth")
    with pytest.raises(ValueError, match="does not fit MaskCLIP: .*1 unexpected: other"):
        Segmenter(cfg)
    cfg.MODEL.WEIGHTS = "gone.pth"
    with pytest.raises(FileNotFoundError, match="'gone.pth' does not exist"):
        Segmenter(cfg)


def test_init_takes_a_file_or_a_config(tiny_opts, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("MODEL:\n  TEXT:\n    CLASSES: ['from file']\n")
    result = Segmenter(file, opts=tiny_opts)
    assert result.choose_words(None).names == ("from file",)
    with pytest.raises(ValueError, match="opts=.* go with a config file"):
        Segmenter(load_config(None, tiny_opts), opts=["SEED", "1"])
    with pytest.raises(ValueError, match="'cuda:64' is not there"):
        Segmenter(opts=[*tiny_opts, "MODEL.DEVICE", "cuda:64"])


def scores_of(segment, rgb, words):
    batch = {"image": torch.from_numpy(rgb).permute(2, 0, 1), "classes": words}
    return segment.model([batch])[0]["sem_seg"].double().numpy()


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


@pytest.mark.parametrize("own_scale", [0.0, 7.5])
def test_heatmaps_of_several_words_are_probabilities(tiny_opts, rgb, own_scale):
    opts = ["MODEL.MASKCLIP.LOGIT_SCALE", str(own_scale), "INPUT.MIN_SIZE_TEST", "0"]
    segment = Segmenter(opts=[*tiny_opts, *opts])
    result = segment.heatmaps(rgb, WORDS)
    assert result.measure == "probability"
    assert list(result.maps) == ["red star", "grass", "brick"]
    assert np.array_equal(result.image, rgb)
    scale = own_scale or segment.model.maskclip.tower.logit_scale.item()
    expected = softmax(scale * scores_of(segment, rgb, WORDS))
    for values, right in zip(result.maps.values(), expected, strict=True):
        assert values.shape == (21, 34) and values.dtype == np.float32
        np.testing.assert_allclose(values, right, atol=1e-5)
    best = np.stack(list(result.maps.values())).argmax(axis=0)
    assert np.array_equal(best, segment(rgb, WORDS).labels)


def test_heatmaps_of_one_word_is_its_cosine(segment, rgb):
    result = segment.heatmaps(rgb, "red star")
    assert result.measure == "cosine"
    (expected,) = scores_of(segment, rgb, "red star")
    np.testing.assert_allclose(result.maps["red star"], expected, atol=1e-6)
    assert expected.std() > 0


def test_heatmaps_ignore_refinement_and_background(tiny_opts, rgb):
    states = ["MODEL.MASKCLIP.KEY_SMOOTHING", "1.0", "MODEL.MASKCLIP.PROMPT_DENOISING", "0.9"]
    states += ["MODEL.MASKCLIP.BACKGROUND_THRESHOLD", "0.6"]
    words = Vocabulary.from_names(["sky", "wall", "floor"], background=["wall", "floor"])
    maps, labels = [], []
    for opts in ([], states):
        torch.manual_seed(0)
        segment = Segmenter(opts=[*tiny_opts, *opts])
        maps.append(np.stack(list(segment.heatmaps(rgb, words).maps.values())))
        labels.append(scores_of(segment, rgb, words))
    assert np.array_equal(*maps)
    assert not np.allclose(*labels)


def test_heatmaps_take_the_best_synonym(tiny_opts, rgb):
    segment = Segmenter(opts=[*tiny_opts, "MODEL.TEXT.SYNONYMS", "max"])
    apart = segment.heatmaps(rgb, "grass, lawn, brick").maps
    together = segment.heatmaps(rgb, "grass | lawn, brick").maps
    np.testing.assert_allclose(together["brick"], apart["brick"], atol=1e-6)
    np.testing.assert_allclose(
        together["grass"], np.maximum(apart["grass"], apart["lawn"]), atol=1e-6
    )
    best = np.stack([together["grass"], together["brick"]]).argmax(axis=0)
    assert np.array_equal(best, segment(rgb, "grass | lawn, brick").labels)
    alone = segment.heatmaps(rgb, "grass | lawn").maps["grass"]
    single = [segment.heatmaps(rgb, word).maps[word] for word in ("grass", "lawn")]
    np.testing.assert_allclose(alone, np.maximum(*single), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 9)])
def test_heatmaps_of_small_and_narrow_images(segment, tmp_path, size):
    for words in ("red star", WORDS):
        result = segment.heatmaps(np.full((*size, 3), 90, np.uint8), words)
        assert {values.shape for values in result.maps.values()} == {size}
        for path in result.save(tmp_path).values():
            with Image.open(path) as image:
                assert image.height >= size[0] and image.width >= size[1]


def test_heatmaps_of_another_architecture(tiny_opts, rgb):
    opts = [*tiny_opts, "MODEL.META_ARCHITECTURE", "CLIPPretrain"]
    segment = Segmenter(opts=opts)
    (expected,) = scores_of(segment, rgb, "grass")
    values = segment.heatmaps(rgb, "grass").maps["grass"]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    segment.model = torch.nn.Identity()
    with pytest.raises(ValueError, match="CLIPPretrain has no heat maps; choose MaskCLIP"):
        segment.heatmaps(rgb, "grass")


def test_attention_is_that_of_the_class_token(tiny_opts):
    segment = Segmenter(load_config(None, tiny_opts))
    image = np.random.default_rng(0).integers(0, 256, (20, 36, 3), np.uint8)
    result = segment.attention(image, "a red star, grass")
    assert result.measure == "attention" and list(result.maps) == ["a red star", "grass"]
    tower = segment.model.text_bank.tower
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    text_embeds = segment.model.text_bank.embed(["a red star", "grass"])
    maps = attention_to_texts(tower, tower.normalize(pixels), text_embeds)
    assert maps.shape == (2, 3, 5)  # patches of 8; the image is padded to whole ones
    # The maps cover the padded image; they are resized and cut.
    resized = F.interpolate(maps[None], (24, 40), mode="bilinear")[0, :, :20, :36]
    for own, expected in zip(result.maps.values(), resized, strict=True):
        torch.testing.assert_close(torch.from_numpy(own), expected)
    assert maps.min() >= 0 and not torch.allclose(maps[0], maps[1])


EXAMPLE = Path(__file__).resolve().parents[1] / "datasets" / "examples" / "shapes.png"


def test_shapes_clip_warns_once_of_photographs(tmp_path, rgb, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    segment = Segmenter(opts=["MODEL.DEVICE", "cpu"])
    for known in ("shapes://dev/0/3", EXAMPLE, str(EXAMPLE)):
        result = segment(known, "red star, grass")
        segment.heatmaps(result.image, "red star")
    (tmp_path / "copy.png").write_bytes(EXAMPLE.read_bytes())
    segment(tmp_path / "copy.png", "red star, grass")
    assert caplog.text == ""
    photo = save(tmp_path, rgb, "photo.png")
    for method in (segment, segment.heatmaps, segment.attention, segment):
        method(photo, "red star, grass")
    segment(rgb, "red star, grass")
    assert caplog.text.count("knows only its coloured shapes") == 1
    assert "photo.png is not of the Shapes world" in caplog.text
    assert "MODEL.CLIP.NAME ViT-B-16 MODEL.CLIP.PRETRAINED openai" in caplog.text


@pytest.mark.parametrize("method", ["heatmaps", "attention"])
def test_shapes_clip_warns_of_arrays(method, rgb, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    getattr(Segmenter(opts=["MODEL.DEVICE", "cpu"]), method)(rgb, "red star, grass")
    assert "an image without a file name is not of the Shapes world" in caplog.text


def test_other_towers_do_not_warn_of_photographs(segment, rgb, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    caplog.clear()
    segment(rgb, "red star, grass")
    assert caplog.text == ""


def test_call_warns_of_one_class_alone(segment, rgb, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    caplog.clear()
    segment.heatmaps(rgb, "red star")  # a cosine, which means something by itself
    assert caplog.text == ""
    assert segment(rgb, "red star").shares == segment([rgb], "red star")[0].shares
    assert caplog.text.count("'red star' is the only class, and so 100 % of every image") == 1
