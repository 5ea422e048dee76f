"""Images by every kind of name that a command line takes."""

import pytest

from ovseg_d2.data.find_images import find_images
from ovseg_d2.data.images import ImageReadError


def test_find_images(tmp_path):
    for name in ("b.png", "a.jpg", "text.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert find_images(["shapes://val/2/5"]) == ["shapes://val/2/5"]
    assert find_images(["shapes://val/0/8-10"]) == [f"shapes://val/0/{n}" for n in (8, 9, 10)]
    assert len(find_images(["shapes://dev/0/"])) == 500
    assert find_images(["ovseg_shapes_dev"]) == find_images(["shapes://dev/0/"])
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "b.png")]
    assert find_images([str(tmp_path)]) == both
    assert find_images([both[1], str(tmp_path / "*.*")]) == both[::-1]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            "shapes://dev/0/9-3",
            "names no images of the Shapes world; write shapes://SPLIT/SEED/F",
        ),
        ("shapes://test/0/", "names no images of the Shapes world"),
        ("shapes://dev", "is not an image of the Shapes world"),
        ("none.jpg", "none.jpg: there is no such file"),
    ],
)
def test_find_images_refuses_other_names(item, message):
    with pytest.raises(ValueError, match=message):
        find_images([item])


def test_find_images_of_empty_inputs():
    assert find_images([]) == []
    with pytest.raises(ImageReadError):
        find_images([""])
