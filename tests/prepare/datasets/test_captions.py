"""COCO-Captions and Flickr30k from miniatures of their archives."""

import json
from pathlib import Path

import pytest

from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.prepare.datasets import check_datasets, prepare_coco_captions, prepare_flickr30k
from ovseg_d2.prepare.datasets.captions import karpathy_entries


def image(name: str, split: str, *captions: str) -> dict:
    """An entry of Karpathy's JSON."""
    entry = {"filename": name, "split": split, "imgid": 1, "sentids": [4]}
    if name.startswith("COCO"):
        entry |= {"filepath": name.split("_")[1], "cocoid": int(name[-10:-4])}
    return {**entry, "sentences": [{"raw": c, "tokens": c.split(), "sentid": 4} for c in captions]}


COCO = [
    image("COCO_val2014_000000391895.jpg", "test", "A man with a red helmet. ", "A\nman."),
    image("COCO_val2014_000000060623.jpg", "restval", "A girl eats."),
    image("COCO_train2014_000000057870.jpg", "train", "A restaurant."),
    image("COCO_val2014_000000522418.jpg", "val", "A woman cuts a cake."),
]
FLICKR = [
    image("1000092795.jpg", "train", "Two young guys."),
    image("1007129816.jpg", "test", "The man with pierced ears.", "A man in a beer hat."),
]


def pack(mini) -> None:
    karpathy = {
        f"dataset_{name}.json": json.dumps({"images": images, "dataset": name}).encode()
        for name, images in (("coco", COCO), ("flickr30k", FLICKR), ("flickr8k", []))
    }
    mini.pack("caption_datasets.zip", karpathy)
    for year in ("val2014", "train2014"):
        names = [entry["filename"] for entry in COCO if entry["filepath"] == year]
        mini.pack(f"{year}.zip", {f"{year}/{name}": mini.jpg() for name in [*names, "x.jpg"]})
    names = [entry["filename"] for entry in FLICKR]
    files = {f"flickr30k-images/{name}": mini.jpg() for name in names}
    mini.pack("flickr30k-images.tar.gz", files)


def listed(mini, monkeypatch, name: str) -> dict[str, list[str]]:
    """Captions of a registered dataset by the paths of its images below the root."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini.root))
    dicts = DatasetCatalog.get(name)
    assert all(Path(entry["file_name"]).is_file() for entry in dicts)
    return {
        str(Path(entry["file_name"]).relative_to(mini.root)): entry["captions"] for entry in dicts
    }


def test_prepare_coco_captions_takes_karpathys_splits(mini, monkeypatch) -> None:
    pack(mini)
    splits = ("test", "val", "train")
    assert prepare_coco_captions(mini.root, mini.downloads, splits=splits).problems == ()
    assert listed(mini, monkeypatch, "ovseg_coco_captions_test") == {
        "coco/val2014/COCO_val2014_000000391895.jpg": ["A man with a red helmet.", "A man."]
    }
    assert list(listed(mini, monkeypatch, "ovseg_coco_captions_val").values()) == [
        ["A woman cuts a cake."]
    ]
    # Training has the part of the validation set that Karpathy adds.
    assert list(listed(mini, monkeypatch, "ovseg_coco_captions_train")) == [
        "coco/val2014/COCO_val2014_000000060623.jpg",
        "coco/train2014/COCO_train2014_000000057870.jpg",
    ]


def test_prepare_coco_captions_unpacks_the_images_of_a_split_only(mini) -> None:
    pack(mini)
    (mini.downloads / "train2014.zip").unlink()
    assert prepare_coco_captions(mini.root, mini.downloads).problems == ()
    images = [path.name for path in mini.root.rglob("*.jpg")]
    assert images == ["COCO_val2014_000000391895.jpg"]


def test_prepare_flickr30k(mini, monkeypatch) -> None:
    pack(mini)
    report = prepare_flickr30k(mini.root, mini.downloads, splits=("test", "train"))
    assert (report.made, report.problems) == (5, ())
    assert listed(mini, monkeypatch, "ovseg_flickr30k_test") == {
        "flickr30k/flickr30k-images/1007129816.jpg": [
            "The man with pierced ears.",
            "A man in a beer hat.",
        ]
    }
    assert len(listed(mini, monkeypatch, "ovseg_flickr30k_train")) == 1
    assert prepare_flickr30k(mini.root, mini.downloads).made == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "has no list 'images'"),
        ({"images": [{}]}, "image 0 has another form"),
        ({"images": [COCO[0], {"split": "test", "filename": "a.jpg"}]}, "image 1 has another form"),
        ({"images": [{"split": "test", "filename": "../a.jpg", "sentences": []}]}, "has the name"),
        ({"images": [image("a.jpg", "test") | {"sentences": [{"raw": 3}]}]}, "the sentence 3"),
    ],
)
def test_karpathy_entries_refuses_other_content(content, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{problem}.*; unpack it again"):
        karpathy_entries(content, "test")


def test_prepare_coco_captions_names_the_broken_file(mini) -> None:
    mini.unpack({"coco/annotations/dataset_coco.json": b'{"images": ['})
    with pytest.raises(ValueError, match=r"cannot read .*dataset_coco\.json: .*; get it again"):
        prepare_coco_captions(mini.root)


def test_check_captions_counts_images_and_reads_them(mini) -> None:
    pack(mini)
    splits = ("test", "val", "train")
    prepare_coco_captions(mini.root, mini.downloads, splits=splits)
    name = "ovseg_coco_captions_train"
    (right,) = check_datasets([name], mini.root, workers=1)
    assert right.num_images == 2
    (short,) = right.findings
    assert "2 images have captions, and the split has 113287; remove" in short
    assert "run python datasets/prepare_coco_captions.py, with caption_datasets.zip" in short
    (mini.root / "coco/val2014/COCO_val2014_000000060623.jpg").unlink()
    cut = mini.root / "coco/train2014/COCO_train2014_000000057870.jpg"
    cut.write_bytes(cut.read_bytes()[:-20])
    with open(mini.root / "coco/captions_karpathy_train.jsonl", "a") as file:
        file.write('{"file_name"')
    (wrong,) = check_datasets([name], mini.root, workers=1)
    lines, _, missing, broken = wrong.findings
    assert lines.startswith("1 lines of")
    assert missing.startswith("1 images do not exist") and "val2014.zip" in missing
    assert broken.startswith("1 images that cannot be read")


def test_check_captions_of_a_broken_file(mini) -> None:
    mini.unpack({"flickr30k/captions_test.jsonl": b"["})
    (result,) = check_datasets(["ovseg_flickr30k_test"], mini.root, workers=1)
    assert "holds no image with captions" in result.findings[0]


def test_prepared_captions_evaluate_through_a_papers_config(mini, evaluate_prepared) -> None:
    pack(mini)
    prepare_coco_captions(mini.root, mini.downloads)
    prepare_flickr30k(mini.root, mini.downloads)
    for name in ("ovseg_coco_captions_test", "ovseg_flickr30k_test"):
        # One image: its captions find it.
        assert evaluate_prepared(name)["text_to_image_R@1"] == 100


def test_prepare_coco_captions_takes_images_of_coco_2017(mini, monkeypatch) -> None:
    pack(mini)
    for year in ("val2014", "train2014"):
        (mini.downloads / f"{year}.zip").unlink()
    mini.unpack({f"coco/train2017/{n}.jpg": mini.jpg() for n in ("000000391895", "000000060623")})
    mini.unpack({"coco/val2017/000000057870.jpg": mini.jpg()})
    report = prepare_coco_captions(mini.root, mini.downloads, splits=("test", "train"))
    assert report.problems == ()
    assert list(listed(mini, monkeypatch, "ovseg_coco_captions_test")) == [
        "coco/train2017/000000391895.jpg"
    ]
    assert list(listed(mini, monkeypatch, "ovseg_coco_captions_train")) == [
        "coco/train2017/000000060623.jpg",
        "coco/val2017/000000057870.jpg",
    ]
    with pytest.raises(FileNotFoundError, match=r"there is no val2014\.zip"):
        prepare_coco_captions(mini.root, mini.downloads, splits=["val"])
