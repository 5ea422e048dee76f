"""Words that ShapesCLIP can know."""

import pytest

from ovseg_d2.data.shapes import CLASSES, format_name, read_captions, unknown_words


def test_all_classes_and_captions_are_known():
    captions = [c for index in range(50) for c in read_captions(format_name("dev", 0, index))]
    assert unknown_words([*CLASSES, *captions]) == []


@pytest.mark.parametrize("name", ["stars", "Red Star", "a red-blue ring", "tile", "pink wave", ""])
def test_other_forms_of_known_words(name):
    assert unknown_words([name]) == []


def test_unknown_words_are_given_back_as_they_came():
    names = ["red star", "Dog", "red dog", "grassy", "grass", "bus", "étoile", "7"]
    assert unknown_words(names) == ["Dog", "red dog", "grassy", "bus", "étoile", "7"]
