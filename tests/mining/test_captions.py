"""Files of COCO's captions, and refused files."""

import json

import pytest

from ovseg_d2.mining import CaptionFileError, read_coco_captions

IMAGES = [
    {"id": 9, "file_name": "000000000009.jpg", "height": 480, "width": 640},
    {"id": 25, "file_name": "train2014/COCO_25.jpg"},
    {"id": 30, "file_name": "never_captioned.jpg"},
]
ANNOTATIONS = [
    {"id": 1, "image_id": 25, "caption": "Two giraffes\nunder a tree. "},
    {"id": 2, "image_id": 9, "caption": "Closeup of bins of food."},
    {"id": 3, "image_id": 25, "caption": "A giraffe."},
]


@pytest.fixture
def write(tmp_path):
    def write_json(content) -> str:
        path = tmp_path / "captions.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write_json


def test_captions_are_keyed_by_image_name(write):
    found = read_coco_captions(write({"images": IMAGES, "annotations": ANNOTATIONS, "info": {}}))
    assert found.captions == {
        "COCO_25.jpg": ("Two giraffes under a tree.", "A giraffe."),
        "000000000009.jpg": ("Closeup of bins of food.",),
    }
    assert found.num_broken == 0


def test_broken_captions_are_counted_and_left_out(write):
    broken = [{"image_id": 9}, {"image_id": 9, "caption": " "}, {"image_id": 77, "caption": "x"}]
    broken += [{"image_id": [9], "caption": "x"}, "text", None, {"image_id": 25, "caption": 3}]
    images = [*IMAGES, {"id": 4}, {"file_name": 5, "id": 77}, "image"]
    found = read_coco_captions(write({"images": images, "annotations": ANNOTATIONS + broken}))
    assert found.num_broken == len(broken)
    assert sum(map(len, found.captions.values())) == 3


INSTANCES = [{"image_id": 9, "category_id": 3, "segmentation": [[1, 2, 3, 4]]}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is truncated or not JSON"),
        ('{"images": [', "it is truncated or not JSON"),
        ([1], "it has no list 'images'; give a file of COCO's format"),
        ({"images": IMAGES, "captions": []}, "it has no list 'annotations'"),
        (
            {"images": IMAGES, "annotations": INSTANCES},
            "none of its annotations has a 'caption' .*; give COCO's captions_.*, not its instanc",
        ),
        ({"images": [], "annotations": ANNOTATIONS}, "none of its annotations has a 'caption' of"),
        (
            {"images": [*IMAGES, {"id": 2, "file_name": "b/COCO_25.jpg"}], "annotations": []},
            "two of its images are called 'COCO_25.jpg'",
        ),
    ],
)
def test_read_coco_captions_refuses_other_files(write, content, words):
    with pytest.raises(CaptionFileError, match=words):
        read_coco_captions(write(content))


def test_read_coco_captions_refuses_unreadable_files(tmp_path):
    with pytest.raises(CaptionFileError, match="there is no such file"):
        read_coco_captions(tmp_path / "gone.json")
    with pytest.raises(CaptionFileError, match="the system says"):
        read_coco_captions(tmp_path)


def test_unusable_captions_are_left_out(write):
    images = [*IMAGES, {"id": 4, "file_name": "a\0b"}, {"file_name": "no_id.jpg"}]
    images += [{"id": True, "file_name": "c.jpg"}, {"id": 10**400, "file_name": "d.jpg"}]
    bad = [{"image_id": 9, "caption": "\ud800"}, {"caption": "x"}, {"image_id": 1, "caption": "x"}]
    bad += [{"image_id": 4, "caption": "x"}]
    entries = [*ANNOTATIONS, *bad, {"image_id": 10**400, "caption": "x"}]
    found = read_coco_captions(write({"images": images, "annotations": entries}))
    assert set(found.captions) == {"COCO_25.jpg", "000000000009.jpg", "d.jpg"}
    assert found.num_broken == len(bad)


def test_duplicate_names_are_found_in_linear_time(write):
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(50_000)]
    images[-1]["file_name"] = "0.jpg"
    with pytest.raises(CaptionFileError, match=r"two of its images are called '0.jpg'"):
        read_coco_captions(write({"images": images, "annotations": []}))
