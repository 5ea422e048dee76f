"""Captions name what is in the picture, and nothing that training withholds."""

import re

import numpy as np
import pytest

from ovseg_d2.data.shapes import (
    CLASS_SETS,
    CLASSES,
    SPLITS,
    article,
    write_captions,
    write_negatives,
)
from ovseg_d2.data.shapes.classes import COLORS, GROUNDS, KINDS

SMALL_WORDS = set("a an and of on with is in there the photo picture scene".split())


@pytest.fixture(scope="module")
def captions(scenes) -> dict[str, list[tuple[str, ...]]]:
    return {
        split: [write_captions(scene, split, 0, i) for i, scene in enumerate(scenes[split])]
        for split in SPLITS
    }


def named_classes(caption: str) -> list[str]:
    """Read a caption word by word: a colour takes the kind that follows it."""
    words = [word for word in re.findall(r"\w+", caption) if word not in SMALL_WORDS]
    names = []
    while words:
        word = words.pop(0)
        names.append(f"{word} {words.pop(0)}" if word in COLORS else word)
    return names


def test_reading_captions():
    caption = "a photo of a red star, orange dots and an orange ring on grass and sand"
    assert named_classes(caption) == ["red star", "orange dots", "orange ring", "grass", "sand"]


def test_captions_are_one_to_five_and_distinct(captions):
    found = [each for split in SPLITS for each in captions[split]]
    assert {len(each) for each in found} == {1, 2, 3, 4, 5}
    assert all(len(set(each)) == len(each) for each in found)


def test_captions_name_only_what_is_there(scenes, captions):
    for split in SPLITS:
        for scene, said in zip(scenes[split], captions[split], strict=True):
            there = {*scene.ground_ids, *(each.class_id for each in scene.objects)}
            for caption in said:
                names = named_classes(caption)
                assert names
                assert set(names) <= set(CLASSES)
                assert {CLASSES.index(name) for name in names} <= there


def test_outlines_have_their_article_and_nothing_else_has_one(captions):
    for caption in [caption for each in captions["dev"] for caption in each]:
        for name in named_classes(caption):
            articles = re.findall(rf"(?:\b(an?) )?{name}", caption)
            expected = article(name).removesuffix(name).strip()
            assert set(articles) == {expected}, caption


def test_training_names_no_withheld_class(captions):
    """Neither as a class nor as two words that happen to stand side by side."""
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    said = [caption for each in captions["train"] for caption in each]
    for caption in said:
        words = re.findall(r"\w+", caption)
        assert not withheld & {f"{a} {b}" for a, b in zip(words, words[1:], strict=False)}
        assert not withheld & set(named_classes(caption))
    # All that may be named is, over a few hundred pictures.
    assert {n for caption in said for n in named_classes(caption)} == set(CLASSES) - withheld


def test_withheld_classes_are_named_where_they_may_be(captions):
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    for split in ("dev", "val"):
        assert withheld & {n for each in captions[split] for c in each for n in named_classes(c)}


def test_some_captions_name_a_single_thing_and_some_all(scenes, captions):
    single_objects = single_grounds = everything = 0
    for scene, said in zip(scenes["train"], captions["train"], strict=True):
        num_things = len(scene.objects) + len(scene.ground_ids)
        for names in map(named_classes, said):
            if num_things > 1 and len(names) == 1:
                single_grounds += names[0] in GROUNDS
                single_objects += names[0] not in GROUNDS
            everything += num_things > 2 and len(names) == num_things
    assert min(single_objects, single_grounds, everything) > 20


def test_words_are_few(captions):
    """ShapesCLIP's tokenizer and tower see nothing but these."""
    known = SMALL_WORDS | {*COLORS, *KINDS, *GROUNDS}
    said = [caption for split in SPLITS for each in captions[split] for caption in each]
    assert {word for caption in said for word in re.findall(r"\w+", caption)} <= known


def test_same_arguments_same_captions(scenes):
    scene = scenes["train"][0]
    assert write_captions(scene, "train", 0, 0) == write_captions(scene, "train", 0, 0)
    others = {write_captions(scene, "train", 0, index) for index in range(10)}
    assert len(others) > 5


def test_wrong_captions_change_one_thing_to_something_never_said(captions):
    rng = np.random.default_rng(0)
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    changed = set()
    for known in captions["train"]:
        said = {name for caption in known for name in named_classes(caption)}
        for caption in known:
            found = write_negatives(caption, known, rng, 4)
            assert len(set(found)) == len(found) <= 4
            for wrong in found:
                right, names = named_classes(caption), named_classes(wrong)
                assert len(names) == len(right)
                (place,) = [i for i, name in enumerate(names) if name != right[i]]
                assert names[place] in CLASSES and names[place] not in said | withheld
                old, new = right[place].split(), names[place].split()
                assert len(old) == len(new) and len(set(old) - set(new)) == 1
                changed.add(len(new) == 2 and old[0] == new[0])
    assert changed == {True, False}  # kinds, and colours or grounds


def test_wrong_captions_read_as_right_ones_do():
    rng = np.random.default_rng(0)
    caption = "a photo of an orange ring"
    found = {wrong for _ in range(60) for wrong in write_negatives(caption, (caption,), rng, 3)}
    assert "a photo of orange stripes" in found and "a photo of a blue ring" in found
    assert not any("a stripes" in wrong or "an blue" in wrong for wrong in found)
    assert write_negatives("a dog on a sofa", ("a dog on a sofa",), rng, 3) == ()
    assert write_negatives(caption, (caption,), rng, 0) == ()
