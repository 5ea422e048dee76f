"""`find_classes` and `find_unseen`."""

import pytest

from ovseg_d2.vocab import find_classes, find_unseen, load_vocabulary

NAMES = ("Red star", "grass", "sand")
SETS = {"novel": (2, 0), "base": (1,)}


def test_find_classes_by_name_and_set():
    assert find_classes(["novel"], NAMES, SETS) == (0, 2)
    assert find_classes(["sand", "base", "red STAR", "sand"], NAMES, SETS) == (0, 1, 2)
    assert find_classes([], NAMES, SETS) == ()
    # A set comes before a class of its name.
    assert find_classes(["grass"], NAMES, {"grass": (0,)}) == (0,)


def test_find_classes_published_unseen_classes():
    voc = load_vocabulary("voc20")
    assert find_classes(["unseen"], voc.names, voc.class_sets) == tuple(range(15, 20))


def test_find_classes_refuses_unknown_names():
    with pytest.raises(ValueError, match="'cat' is neither one of the 3 classes nor of their sets"):
        find_classes(["cat"], NAMES, SETS)
    with pytest.raises(ValueError, match=r"sets \(none\)"):
        find_classes(["cat"], NAMES, {})


def test_find_unseen_without_class_sets():
    assert find_unseen(["novel", "withheld"], NAMES, {}) == ()
    assert find_unseen(["novel", "sand"], NAMES, {}) == (2,)
    assert find_unseen(["novel"], ("grass", "novel"), {}) == (1,)  # a class of that name
    assert find_unseen(["novel"], NAMES, SETS) == (0, 2)
    for names, sets in ((["withheld"], SETS), (["cat"], {}), (["novel", "cat"], {})):
        with pytest.raises(ValueError, match="is neither one of the 3 classes nor of their sets"):
            find_unseen(names, NAMES, sets)
