"""The classes of the Shapes world and their three sets."""

import itertools

import numpy as np
import pytest

from ovseg_d2.data.shapes.classes import (
    CLASS_SETS,
    CLASSES,
    COLORS,
    GROUNDS,
    IGNORE_LABEL,
    KINDS,
    NOVEL_GROUNDS,
    NUM_OBJECT_CLASSES,
    OUTLINES,
    PATTERNS,
    article,
    split_object_class,
    training_label_map,
)


def set_of(class_name: str) -> str:
    """Find the class set of a class by its name."""
    (set_name,) = [name for name, ids in CLASS_SETS.items() if CLASSES.index(class_name) in ids]
    return set_name


def test_classes_are_72_pairs_and_8_grounds():
    assert (len(COLORS), len(PATTERNS), len(OUTLINES), len(GROUNDS)) == (8, 4, 5, 8)
    pairs = {f"{color} {kind}" for color in COLORS for kind in (*PATTERNS, *OUTLINES)}
    assert NUM_OBJECT_CLASSES == len(pairs) == 72
    assert set(CLASSES[:NUM_OBJECT_CLASSES]) == pairs
    assert CLASSES[NUM_OBJECT_CLASSES:] == GROUNDS


def test_split_object_class():
    for (c, color), (k, kind) in itertools.product(enumerate(COLORS), enumerate(KINDS)):
        assert split_object_class(CLASSES.index(f"{color} {kind}")) == (c, k)


def test_class_sets_hold_60_25_and_15_percent():
    assert list(CLASS_SETS) == ["base", "novel", "withheld"]
    assert sorted(itertools.chain(*CLASS_SETS.values())) == list(range(80))
    shares = {name: 100 * len(ids) / 80 for name, ids in CLASS_SETS.items()}
    assert shares == pytest.approx({"base": 60, "novel": 25, "withheld": 15}, abs=2.5)


@pytest.mark.parametrize("word", [*COLORS, *KINDS])
def test_class_sets_hold_every_colour_and_kind(word):
    """Novel and withheld classes are combinations of parts that occur in base classes."""
    assert {set_of(name) for name in CLASSES if word in name.split()} == set(CLASS_SETS)


def test_grounds_are_base_or_novel():
    assert {name for name in GROUNDS if set_of(name) == "novel"} == set(NOVEL_GROUNDS)
    assert not any(set_of(name) == "withheld" for name in GROUNDS)


def test_training_label_map_keeps_base_only():
    table = training_label_map()
    assert table.shape == (256,)
    assert table.dtype == np.uint8
    for label in range(256):
        is_base = label < len(CLASSES) and set_of(CLASSES[label]) == "base"
        assert table[label] == (label if is_base else IGNORE_LABEL)


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("red star", "a red star"),
        ("orange ring", "an orange ring"),
        ("orange stripes", "orange stripes"),
        ("red dots", "red dots"),
        ("grass", "grass"),
    ],
)
def test_article(class_name, expected):
    assert article(class_name) == expected
