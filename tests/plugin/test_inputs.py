"""Vocabularies of inputs: their sources, and the words of a dataset's classes."""

import logging

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.plugin.inputs import config_vocabulary, config_word_list, dataset_vocabulary
from ovseg_d2.vocab import Vocabulary, load_vocabulary, read_words


def test_order_of_vocabulary_sources(build, toy_dataset):
    data = toy_dataset("ovseg_toy_data", ["sky", "sea"])
    test = toy_dataset("ovseg_toy_test", ["rock", "sand"])
    model = build("MODEL.TEXT.CLASSES", "['dog']", "DATASETS.TEST", f"('{test}',)")
    full = {"classes": "red, blue", "dataset_name": data}
    model.set_vocabulary("cat")
    assert model.vocabulary_of(full).names == ("red", "blue")
    assert model.vocabulary_of({"dataset_name": data}).names == ("cat",)
    model.set_vocabulary(None)
    assert model.vocabulary_of({"dataset_name": data}).names == ("sky", "sea")
    assert model.vocabulary_of({}).names == ("dog",)
    # An unregistered name has no vocabulary, and reading it registers nothing.
    assert model.vocabulary_of({"dataset_name": "ovseg_toy_nowhere"}).names == ("dog",)
    assert "ovseg_toy_nowhere" not in MetadataCatalog.list()

    without_classes = build("DATASETS.TEST", f"('{test}', '{data}')")
    assert without_classes.vocabulary_of({}).names == ("rock", "sand")


def test_negative_words_win_pixels_for_background(build, tmp_path):
    words = Vocabulary.from_names(["nothing", "cat", "dog"], background=["nothing"])
    path = tmp_path / "words.txt"
    path.write_text("sea | lake\ncat\nsky = clear sky")
    model = build("MODEL.TEXT.NEGATIVE_WORDS", str(path))
    sample = {"image": torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8), "classes": words}
    labels = model.segment([sample])[0]
    apart = [*words.names, "sea", "lake", "clear sky"]
    expected = build().segment([{**sample, "classes": apart}])[0]
    assert (expected > 2).any() and (expected <= 2).any()
    assert torch.equal(labels, torch.where(expected > 2, 0, expected))
    with pytest.raises(ValueError, match="4 negative words, such as 'sea', count as background"):
        model.segment([{**sample, "classes": "cat, dog"}])
    assert len(build("MODEL.TEXT.NEGATIVE_WORDS", "negative_words").inputs.negative_words) == 64
    with pytest.raises(ValueError, match="no word list 'sea'"):
        build("MODEL.TEXT.NEGATIVE_WORDS", "sea")


def test_underscores_key_reaches_prompts(build):
    assert build("MODEL.TEXT.UNDERSCORES_ARE_SPACES", "True").text_bank.prompt_word("a_b") == "a b"
    assert build().text_bank.prompt_word("a_b") == "a_b"


def test_word_list_replaces_a_datasets_words(build, toy_dataset, tmp_path):
    data = toy_dataset("ovseg_toy_listed", ["sky", "sea"])
    path = tmp_path / "words.txt"
    path.write_text("[background]\nsky = clear sky | clouds\n[]\nsea = ocean\n")
    model = build("MODEL.TEXT.WORD_LIST", str(path))
    vocabulary = model.vocabulary_of({"dataset_name": data})
    assert vocabulary.synonyms == (("clear sky", "clouds"), ("ocean",))
    assert vocabulary.background_ids == (0,)
    # The input's own classes have priority.
    assert model.vocabulary_of({"dataset_name": data, "classes": "cat"}).names == ("cat",)
    other = toy_dataset("ovseg_toy_longer", ["sky", "sea", "sand"])
    with pytest.raises(ValueError, match=r"WORD_LIST has 2 classes .*ovseg_toy_longer.* has 3"):
        model.vocabulary_of({"dataset_name": other})
    voc = build("MODEL.TEXT.WORD_LIST", "voc21_sclip")
    vocabulary = voc.vocabulary_of({"dataset_name": "ovseg_voc21_val"})
    assert vocabulary == load_vocabulary("voc21_sclip") and len(vocabulary.synonyms[0]) > 20
    with pytest.raises(ValueError, match="no word list 'voc22'"):
        build("MODEL.TEXT.WORD_LIST", "voc22")


def test_missing_vocabulary_names_the_remedies(build):
    with pytest.raises(ValueError, match=r"no vocabulary: .*'classes'.*MODEL\.TEXT\.CLASSES"):
        build().vocabulary_of({})


def test_read_words_takes_text_list_or_vocabulary():
    assert read_words("red star, grass | lawn").synonyms == (("red star",), ("grass", "lawn"))
    # A list is taken literally.
    assert read_words(["a, b", "c"]).names == ("a, b", "c")
    vocabulary = Vocabulary.from_names(["x"])
    assert read_words(vocabulary) is vocabulary


def test_commas_in_dataset_names_separate_synonyms(toy_dataset):
    name = toy_dataset(
        "ovseg_toy_synonyms", ["bed ", "screen, CRT screen,", "sea"], class_sets={"base": [0, 2]}
    )
    vocabulary = dataset_vocabulary(name)
    assert vocabulary.synonyms == (("bed",), ("screen", "CRT screen"), ("sea",))
    assert vocabulary.names == ("bed", "screen, CRT screen,", "sea")
    assert dict(vocabulary.class_sets) == {"base": (0, 2)}


def test_equal_class_names_are_numbered(toy_dataset):
    name = toy_dataset("ovseg_toy_twice", ["door", "Door", "door (2)", "door"])
    vocabulary = dataset_vocabulary(name)
    assert vocabulary.names == ("door", "Door (2)", "door (2) (2)", "door (3)")
    assert vocabulary.synonyms == (("door",), ("Door",), ("door (2)",), ("door",))


def test_class_without_name_is_refused(toy_dataset):
    name = toy_dataset("ovseg_toy_nameless", ["door", " , "])
    with pytest.raises(ValueError, match=r"ovseg_toy_nameless.*stuff_classes\[1\]"):
        dataset_vocabulary(name)


def test_vocabulary_in_metadata_is_used_unchanged(toy_dataset):
    own = Vocabulary.from_names(["a", "b"], synonyms=[["a", "aa"], ["b"]])
    assert dataset_vocabulary(toy_dataset("ovseg_toy_own", ["x", "y"], vocabulary=own)) is own


def test_changed_metadata_change_the_vocabulary(build, toy_dataset):
    name = toy_dataset("ovseg_toy_changing", ["sky", "sea"])
    model = build()
    assert model.vocabulary_of({"dataset_name": name}).names == ("sky", "sea")
    kept = model.vocabulary_of({"dataset_name": name})
    assert model.vocabulary_of({"dataset_name": name}) is kept
    # In place, and by registering anew.
    MetadataCatalog.get(name).stuff_classes.append("sand")
    assert model.vocabulary_of({"dataset_name": name}).names == ("sky", "sea", "sand")
    MetadataCatalog.remove(name)
    MetadataCatalog.get(name).set(stuff_classes=["rock"])
    assert model.vocabulary_of({"dataset_name": name}).names == ("rock",)


def test_config_vocabulary_is_classes_or_test_set(toy_dataset):
    first = toy_dataset("ovseg_toy_first", ["sky", "sea"])
    assert config_vocabulary(load_config()) is None
    # An unregistered test set is skipped here, and refused by its loader.
    cfg = load_config(None, ["DATASETS.TEST", f"('ovseg_toy_nowhere', '{first}')"])
    assert config_vocabulary(cfg).names == ("sky", "sea")
    cfg.MODEL.TEXT.CLASSES = ["dog, wolf", "cat"]
    assert config_vocabulary(cfg).names == ("dog, wolf", "cat")


def test_input_format_refuses_unknown_orders(build):
    with pytest.raises(ValueError, match="INPUT.FORMAT is 'L'; it takes one of 'RGB', 'BGR'"):
        build("INPUT.FORMAT", "L")


def test_rgb_image_follows_input_format(build):
    image = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    rgb = build().rgb_image({"image": image})
    torch.testing.assert_close(rgb, image.float()[None])
    bgr = build("INPUT.FORMAT", "BGR").rgb_image({"image": image[[2, 1, 0]]})
    torch.testing.assert_close(bgr, rgb)


def test_config_classes_and_word_list_from_files(tmp_path):
    path = tmp_path / "words.json"
    path.write_text('{"sky": ["cloud"], "grass": []}')
    opts = ["MODEL.TEXT.CLASSES", "['voc20']", "MODEL.TEXT.WORD_LIST", str(path)]
    cfg = load_config(None, opts)
    assert config_vocabulary(cfg) is load_vocabulary("voc20")
    assert config_word_list(cfg).synonyms == (("sky", "cloud"), ("grass",))


@pytest.mark.parametrize("classes", ["sky", [None, "sky"], ["sky", 3]])
def test_invalid_stuff_classes_are_refused(build, classes):
    metadata = MetadataCatalog.get("ovseg_toy_letters")
    metadata.set(stuff_classes=classes)
    try:
        with pytest.raises(ValueError, match="dataset 'ovseg_toy_letters': stuff_classes"):
            build().vocabulary_of({"dataset_name": "ovseg_toy_letters"})
    finally:
        MetadataCatalog.remove("ovseg_toy_letters")


def test_photograph_advice_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    model = build_model(load_config(None, ["MODEL.DEVICE", "cpu"]))
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    words = {"image": image, "classes": "red star, grass"}
    model.train().rgb_image({**words, "file_name": "photo.jpg"})
    model.eval()
    model([{**words, "file_name": "shapes://val/0/1"}, words])
    assert "Shapes world" not in caplog.text
    model([{**words, "file_name": "photo.jpg"}, {**words, "file_name": "other.jpg"}])
    assert caplog.text.count("photo.jpg is not of the Shapes world") == 1
    assert "other.jpg" not in caplog.text


def test_load_state_dict_refuses_not_finite_weights():
    model = build_model(load_config(None))
    state = model.state_dict()
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name] = torch.full_like(state[name], torch.nan)
    with pytest.raises(ValueError, match=f"entry '{name}' has NaN or infinity"):
        model.load_state_dict(state)
