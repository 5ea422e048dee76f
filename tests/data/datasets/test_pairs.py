"""Files of pairs as datasets, by path or registered name."""

import logging

import numpy as np
import pytest

from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.datasets import pair_dicts
from ovseg_d2.data.datasets.pairs import PAIR_SETS
from ovseg_d2.data.loaders import load_dataset_dicts
from ovseg_d2.masks import MaskPair, PairFileError, encode_masks, write_pairs

(RLE,) = encode_masks(np.ones((1, 4, 5), dtype=bool))


@pytest.fixture
def pair_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pairs = [MaskPair(f"shapes://train/0/{n}", RLE, noun) for n, noun in enumerate(["dog", "cat"])]
    write_pairs(path, pairs, {})
    return path


def test_load_dataset_dicts_takes_a_pair_file(pair_file):
    dicts = load_dataset_dicts([str(pair_file), "ovseg_shapes_dev"])
    assert [entry["pair"].noun for entry in dicts[:2]] == ["dog", "cat"]
    assert dicts[1]["file_name"] == "shapes://train/0/1"
    assert dicts[0]["dataset_name"] == str(pair_file)
    assert "pair" not in dicts[2] and len(dicts) == 502


def test_pair_dicts_warns_of_broken_lines(pair_file, caplog):
    with open(pair_file, "a") as file:
        file.write("{}\n" * 4 + '{"image": "cut')
    with caplog.at_level(logging.WARNING):
        assert len(pair_dicts(pair_file)) == 2
    assert "5 lines are left out: line 4 has the image None" in caplog.text
    assert caplog.text.strip().endswith("; ...")


def test_load_dataset_dicts_missing_or_empty_pair_file(tmp_path):
    with pytest.raises(PairFileError, match="gone.jsonl: there is no such file; make it with"):
        load_dataset_dicts([str(tmp_path / "gone.jsonl")])
    write_pairs(tmp_path / "pairs.jsonl", [], {"nouns": "classes"})
    with pytest.raises(ValueError, match="pairs.jsonl' is empty"):
        load_dataset_dicts([str(tmp_path / "pairs.jsonl")])


def test_pair_dicts_missing_image_root(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [MaskPair("a.jpg", RLE, "dog")], {"image_root": "a\nb"})
    with pytest.raises(FileNotFoundError, match=r"the folder a\\nb of its images does not exist"):
        pair_dicts(path)
    write_pairs(path, [MaskPair("a.jpg", RLE, "dog")], {"image_root": str(tmp_path / "gone")})
    with pytest.raises(FileNotFoundError, match="gone of its images does not exist; correct 'im"):
        pair_dicts(path)


def test_pair_sets_are_read_at_use(tmp_path, monkeypatch, pair_file):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    assert set(PAIR_SETS) <= set(DatasetCatalog.list())
    with pytest.raises(FileNotFoundError, match=r"--output .*datasets/pairs/coco_5cap, or set DET"):
        DatasetCatalog.get("ovseg_coco_pairs_5cap")
    folder = tmp_path / "datasets" / "pairs" / "coco_5cap"
    folder.mkdir(parents=True)
    pair_file.rename(folder / "pairs.jsonl")
    assert len(DatasetCatalog.get("ovseg_coco_pairs_5cap")) == 2
