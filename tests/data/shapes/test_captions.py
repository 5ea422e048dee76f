"""Captions of the Shapes world, right and wrong ones."""

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
    """Class names in a caption: grounds, and colours with the kind that follows."""
    words = [word for word in re.findall(r"\w+", caption) if word not in SMALL_WORDS]
    names = []
    while words:
        word = words.pop(0)
        names.append(f"{word} {words.pop(0)}" if word in COLORS else word)
    return names


def test_named_classes():
    caption = "a photo of a red star, orange dots and an orange ring on grass and sand"
    assert named_classes(caption) == ["red star", "orange dots", "orange ring", "grass", "sand"]


def test_write_captions_are_one_to_five_and_distinct(captions):
    of_images = [texts for split in SPLITS for texts in captions[split]]
    assert {len(texts) for texts in of_images} == {1, 2, 3, 4, 5}
    assert all(len(set(texts)) == len(texts) for texts in of_images)


def test_write_captions_names_only_visible_classes(scenes, captions):
    for split in SPLITS:
        for scene, texts in zip(scenes[split], captions[split], strict=True):
            visible = {*scene.ground_ids, *(thing.class_id for thing in scene.objects)}
            for names in map(named_classes, texts):
                assert names
                assert set(names) <= set(CLASSES)
                assert {CLASSES.index(name) for name in names} <= visible


def test_write_captions_articles(captions):
    for caption in [caption for texts in captions["dev"] for caption in texts]:
        for name in named_classes(caption):
            articles = re.findall(rf"(?:\b(an?) )?{name}", caption)
            expected = article(name).removesuffix(name).strip()
            assert set(articles) == {expected}, caption


def test_write_captions_train_names_no_withheld_class(captions):
    """Two neighbouring words are never the name of a withheld class, either."""
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    train = [caption for texts in captions["train"] for caption in texts]
    for caption in train:
        words = re.findall(r"\w+", caption)
        assert not withheld & {f"{a} {b}" for a, b in zip(words, words[1:], strict=False)}
        assert not withheld & set(named_classes(caption))
    # A few hundred images name all other classes.
    assert {n for caption in train for n in named_classes(caption)} == set(CLASSES) - withheld


def test_write_captions_dev_and_val_name_withheld(captions):
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    for split in ("dev", "val"):
        assert withheld & {n for texts in captions[split] for c in texts for n in named_classes(c)}


def test_write_captions_names_one_or_all_things(scenes, captions):
    single_objects = single_grounds = everything = 0
    for scene, texts in zip(scenes["train"], captions["train"], strict=True):
        num_things = len(scene.objects) + len(scene.ground_ids)
        for names in map(named_classes, texts):
            if num_things > 1 and len(names) == 1:
                single_grounds += names[0] in GROUNDS
                single_objects += names[0] not in GROUNDS
            everything += num_things > 2 and len(names) == num_things
    assert min(single_objects, single_grounds, everything) > 20


def test_write_captions_uses_known_words(captions):
    known = SMALL_WORDS | {*COLORS, *KINDS, *GROUNDS}
    every = [caption for split in SPLITS for texts in captions[split] for caption in texts]
    assert {word for caption in every for word in re.findall(r"\w+", caption)} <= known


def test_write_captions_is_reproducible(scenes):
    scene = scenes["train"][0]
    assert write_captions(scene, "train", 0, 0) == write_captions(scene, "train", 0, 0)
    others = {write_captions(scene, "train", 0, index) for index in range(10)}
    assert len(others) > 5


def test_write_negatives_changes_one_word_of_one_thing(captions):
    rng = np.random.default_rng(0)
    withheld = {CLASSES[i] for i in CLASS_SETS["withheld"]}
    changed = set()
    for known in captions["train"]:
        named = {name for caption in known for name in named_classes(caption)}
        for caption in known:
            negatives = write_negatives(caption, known, rng, 4)
            assert len(set(negatives)) == len(negatives) <= 4
            for wrong in negatives:
                right, names = named_classes(caption), named_classes(wrong)
                assert len(names) == len(right)
                (place,) = [i for i, name in enumerate(names) if name != right[i]]
                assert names[place] in CLASSES and names[place] not in named | withheld
                old, new = right[place].split(), names[place].split()
                assert len(old) == len(new) and len(set(old) - set(new)) == 1
                changed.add(len(new) == 2 and old[0] == new[0])
    assert changed == {True, False}  # kinds, and colours or grounds


def test_write_negatives_articles_and_empty_results():
    rng = np.random.default_rng(0)
    caption = "a photo of an orange ring"
    negatives = {text for _ in range(60) for text in write_negatives(caption, (caption,), rng, 3)}
    assert "a photo of orange stripes" in negatives and "a photo of a blue ring" in negatives
    assert not any("a stripes" in text or "an blue" in text for text in negatives)
    assert write_negatives("a dog on a sofa", ("a dog on a sofa",), rng, 3) == ()
    assert write_negatives(caption, (caption,), rng, 0) == ()
