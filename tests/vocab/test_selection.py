"""Classes by their names and by those of class sets."""

import pytest

from ovseg_d2.vocab import find_classes, find_unseen, load_vocabulary

NAMES = ("Red star", "grass", "sand")
SETS = {"novel": (2, 0), "base": (1,)}


def test_names_and_sets_together():
    assert find_classes(["novel"], NAMES, SETS) == (0, 2)
    assert find_classes(["sand", "base", "red STAR", "sand"], NAMES, SETS) == (0, 1, 2)
    assert find_classes([], NAMES, SETS) == ()


def test_a_set_comes_before_a_class_of_its_name():
    assert find_classes(["grass"], NAMES, {"grass": (0,)}) == (0,)


def test_the_published_unseen_classes():
    voc = load_vocabulary("voc20")
    assert find_classes(["unseen"], voc.names, voc.class_sets) == tuple(range(15, 20))
    context = load_vocabulary("context60")
    assert find_classes(["unseen"], context.names, context.class_sets) == tuple(
        sorted((20, 34, 49, 15, 8, 25, 7, 55, 32, 1))
    )
    stuff = load_vocabulary("coco_stuff171")
    published = (19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160)
    assert find_classes(["unseen"], stuff.names, stuff.class_sets) == published


def test_unknown():
    with pytest.raises(ValueError, match="'cat' is neither one of the 3 classes nor of their sets"):
        find_classes(["cat"], NAMES, SETS)
    with pytest.raises(ValueError, match=r"sets \(none\)"):
        find_classes(["cat"], NAMES, {})


def test_names_of_class_sets_hide_nothing_of_a_dataset_without_any():
    assert find_unseen(["novel", "withheld"], NAMES, {}) == ()
    assert find_unseen(["novel", "sand"], NAMES, {}) == (2,)
    assert find_unseen(["novel"], ("grass", "novel"), {}) == (1,)  # its own class
    assert find_unseen(["novel"], NAMES, SETS) == (0, 2)
    for names, sets in ((["withheld"], SETS), (["cat"], {}), (["novel", "cat"], {})):
        with pytest.raises(ValueError, match="is neither one of the 3 classes nor of their sets"):
            find_unseen(names, NAMES, sets)
