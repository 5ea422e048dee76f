"""Nouns and phrases of captions that are tagged by hand."""

import pytest

from ovseg_d2.data import shapes
from ovseg_d2.mining import HanTaTagger, TaggedWord, find_nouns

KINDS = {"n": "noun", "a": "adjective"}


def tagged(caption: str) -> list[TaggedWord]:
    parts = [word.partition("/") for word in caption.split()]
    return [TaggedWord(text, KINDS.get(kind, "other")) for text, _, kind in parts]


CAPTIONS = [
    ("a red/a star/n on grass/n", ["red star", "grass"], ["star", "grass"]),
    ("an old/a train/n station/n", ["old train station"], ["train", "station"]),
    ("black/a and white/a cats/n", ["white cats"], ["cats"]),
    ("the sky/n blue/a sea/n", ["sky", "blue sea"], ["sky", "sea"]),
    ("Dogs/n and dogs/n", ["dogs"], ["dogs"]),
    ("the wall/n is white/a", ["wall"], ["wall"]),
    ("a colorful/a photo/n of a dog/n", ["dog"], ["dog"]),
    ("a photo/n frame/n", ["photo frame"], ["frame"]),
    ("running fast/a", [], []),
    ("", [], []),
    # Not names of classes: numbers, single letters, endless lists.
    ("3/n x/n a/n b/n c/n d/n e/n f/n", [], []),
    ("7/n 747/n", [], []),
    ("w" * 61 + "/n", [], []),
    # Nor control characters and surrogates.
    ("a gr\x00ass/n and a \ud800star/n", [], []),
]


@pytest.mark.parametrize(("caption", "phrases", "nouns"), CAPTIONS)
def test_find_nouns_by_hand(caption, phrases, nouns):
    assert find_nouns(tagged(caption)) == phrases
    assert find_nouns(tagged(caption), phrases=False) == nouns


def test_find_nouns_finds_the_shapes_classes():
    tagger = HanTaTagger()
    named, right = 0, 0
    for index in range(60):
        for caption in shapes.read_captions(f"shapes://train/0/{index}"):
            expected = {name for name in shapes.CLASSES if f" {name} " in f" {_plain(caption)} "}
            named += len(expected)
            right += len(expected & set(find_nouns(tagger(caption))))
    assert named > 150
    assert right > 0.97 * named


def _plain(caption: str) -> str:
    return caption.replace(",", " ")
