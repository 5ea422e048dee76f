"""The owners' ids and the classes that they become, by their names."""

import numpy as np
import pytest

from ovseg_d2.prepare.datasets.ade import ade150_table, ade847_labels
from ovseg_d2.prepare.datasets.cityscapes import cityscapes_table
from ovseg_d2.prepare.datasets.coco import coco_object_table, coco_stuff_table
from ovseg_d2.prepare.datasets.label_files import NO_CLASS
from ovseg_d2.vocab import load_vocabulary

# Ids and names of the owners' own lists: objectInfo150.txt of ADE20K, COCO's categories (the files
# hold the ids less 1), cityscapesScripts' labels.py.
NAMED = {
    "ade150": (ade150_table(), {1: "wall", 2: "building", 13: "person", 21: "car", 150: "flag"}),
    "coco_stuff171": (
        coco_stuff_table(),
        {0: "person", 10: "fire hydrant", 12: "stop sign", 24: "giraffe", 26: "backpack"}
        | {30: "handbag", 64: "bed", 66: "dining table", 69: "toilet", 89: "toothbrush"}
        | {91: "banner", 156: "sky-other", 181: "wood"},
    ),
    "coco_object": (
        coco_object_table(),
        {0: "person", 12: "stop sign", 89: "toothbrush", 91: "background", 181: "background"}
        | {255: "background"},
    ),
    "cityscapes19": (
        cityscapes_table(),
        {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"}
        | {19: "traffic light", 20: "traffic sign", 24: "person", 28: "bus", 31: "train"}
        | {32: "motorcycle", 33: "bicycle"},
    ),
}


@pytest.mark.parametrize("words", NAMED)
def test_ids_become_the_classes_of_the_word_list(words: str) -> None:
    table, named = NAMED[words]
    names = load_vocabulary(words).names
    assert {value: names[table[value]] for value in named} == named


@pytest.mark.parametrize("words", NAMED)
def test_tables_give_every_class(words: str) -> None:
    table, _ = NAMED[words]
    classes = set(table.tolist()) - {NO_CLASS, 255}
    assert classes == set(range(len(load_vocabulary(words))))


@pytest.mark.parametrize(
    ("words", "ignored"),
    [
        ("ade150", {0}),
        ("coco_stuff171", {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90, 255}),
        ("coco_object", set()),
        ("cityscapes19", {0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30}),
    ],
)
def test_ids_that_are_ignored(words: str, ignored: set[int]) -> None:
    assert set(np.flatnonzero(NAMED[words][0] == 255).tolist()) == ignored


def test_ade847_numbers_become_the_classes_of_the_word_list() -> None:
    """R // 10 * 256 + G: 2978 is wall, 312 building and 3156, the largest, alga."""
    colors = [[110, 162, 7], [10, 56, 0], [19, 56, 9], [120, 84, 0], [0, 0, 0], [255, 255, 255]]
    labels = ade847_labels(np.array([colors], np.uint8))
    assert labels.dtype == np.uint16
    names = load_vocabulary("ade847").names
    assert [names[label] for label in labels[0, :4]] == [
        "wall",
        "building, edifice",
        "building, edifice",
        "alga, algae",
    ]
    assert labels[0, 4:].tolist() == [65535, 65535]


def test_ade847_has_a_number_for_every_class() -> None:
    numbers = np.arange(26 * 256)
    colors = np.stack([numbers // 256 * 10, numbers % 256, numbers * 0], axis=-1)
    labels = ade847_labels(colors[None].astype(np.uint8))
    assert sorted(labels[labels < 65535].tolist()) == list(range(847))
