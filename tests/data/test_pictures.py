"""Pictures by every kind of name that a command line takes."""

import pytest

from ovseg_d2.data.images import ImageReadError
from ovseg_d2.data.pictures import list_pictures


def test_pictures_by_every_kind_of_name(tmp_path):
    for name in ("b.png", "a.jpg", "text.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert list_pictures(["shapes://val/2/5"]) == ["shapes://val/2/5"]
    assert list_pictures(["shapes://val/0/8-10"]) == [f"shapes://val/0/{n}" for n in (8, 9, 10)]
    assert len(list_pictures(["shapes://dev/0/"])) == 500
    assert list_pictures(["ovseg_shapes_dev"]) == list_pictures(["shapes://dev/0/"])
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "b.png")]
    assert list_pictures([str(tmp_path)]) == both
    assert list_pictures([both[1], str(tmp_path / "*.*")]) == both[::-1]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            "shapes://dev/0/9-3",
            "names no pictures of the Shapes world; write shapes://SPLIT/SEED/F",
        ),
        ("shapes://test/0/", "names no pictures of the Shapes world"),
        ("shapes://dev", "is not a picture of the Shapes world"),
        ("none.jpg", "none.jpg: there is no such file"),
    ],
)
def test_names_of_no_pictures(item, words):
    with pytest.raises(ValueError, match=words):
        list_pictures([item])


def test_no_pictures():
    assert list_pictures([]) == []
    with pytest.raises(ImageReadError):
        list_pictures([""])
