"""The words that ShapesCLIP is trained with."""

import pytest

from ovseg_d2.data.shapes import CLASSES, format_name, read_captions, unknown_words


def test_unknown_words_none_in_classes_and_captions():
    captions = [c for index in range(50) for c in read_captions(format_name("dev", 0, index))]
    assert unknown_words([*CLASSES, *captions]) == []


@pytest.mark.parametrize("name", ["stars", "Red Star", "a red-blue ring", "tile", "pink wave", ""])
def test_unknown_words_accepts_other_forms(name):
    assert unknown_words([name]) == []


def test_unknown_words_keeps_names_unchanged():
    names = ["red star", "Dog", "red dog", "grassy", "grass", "bus", "étoile", "7"]
    assert unknown_words(names) == ["Dog", "red dog", "grassy", "bus", "étoile", "7"]
