"""Thresholds of single classes: form, range and repeats."""

import pytest

from ovseg_d2.vocab import read_thresholds


def test_read_thresholds_takes_the_last_equals_sign() -> None:
    entries = ["cat = 0.4", " red  star=1", "a = b = 0"]
    assert read_thresholds(entries, "KEY") == {"cat": 0.4, "red star": 1.0, "a = b": 0.0}
    assert read_thresholds([], "KEY") == {}


@pytest.mark.parametrize("entry", ["cat", "0.4", "= 0.4", "cat = 1.5", "cat = nan", "cat = x", ""])
def test_read_thresholds_refuses_other_forms(entry: str) -> None:
    with pytest.raises(ValueError, match=r"KEY holds '.*'; give a class and a probability"):
        read_thresholds([entry], "KEY")


def test_read_thresholds_refuses_a_class_twice() -> None:
    with pytest.raises(ValueError, match="KEY holds the class 'CAT' twice"):
        read_thresholds(["cat = 0.1", "CAT = 0.2"], "KEY")
