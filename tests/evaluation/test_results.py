"""results.json: merged, atomic and plain JSON."""

import json
import math

import numpy as np
import pytest
import torch

from ovseg_d2.evaluation import numbers_of, read_results, write_results
from ovseg_d2.files import WriteError


def test_read_results_without_a_file(tmp_path):
    assert read_results(tmp_path) == {}
    assert read_results(tmp_path / "none") == {}


def test_write_results_and_read_results(tmp_path):
    path = write_results(tmp_path / "new" / "folder", {"val": {"mIoU": 25.5, "images": 3}})
    assert path == tmp_path / "new" / "folder" / "results.json"
    assert read_results(path.parent) == {"val": {"mIoU": 25.5, "images": 3}}
    assert path.read_text().endswith("}\n")


def test_write_results_merges_datasets(tmp_path):
    write_results(tmp_path, {"a": {"mIoU": 1.0, "old": 1}, "b": {"mIoU": 2.0}})
    write_results(tmp_path, {"a": {"mIoU": 3.0}, "c": {"mIoU": 4.0}})
    assert read_results(tmp_path) == {"a": {"mIoU": 3.0}, "b": {"mIoU": 2.0}, "c": {"mIoU": 4.0}}


def test_write_results_is_plain_json(tmp_path):
    numbers = {
        "nan": float("nan"),
        "numpy nan": np.float64("nan"),
        "infinite": math.inf,
        "numpy": np.float32(0.5),
        "integer": np.int64(7),
        "tensor": torch.tensor(1.25),
        "rounded": 12.345678,
        "text": "patch",
        "none": None,
    }
    text = write_results(tmp_path, {"val": numbers}).read_text()

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse)["val"] == {
        "nan": None,
        "numpy nan": None,
        "infinite": None,
        "numpy": 0.5,
        "integer": 7,
        "tensor": 1.25,
        "rounded": 12.3457,
        "text": "patch",
        "none": None,
    }


def test_write_results_failure_keeps_the_file(tmp_path):
    path = write_results(tmp_path, {"a": {"mIoU": 1.0}})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_results(tmp_path, {"a": {"mIoU": 2.0}, "b": {"mIoU": {1, 2}}})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_write_results_folder_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="results.json"):
        write_results(tmp_path / "file", {"a": {"mIoU": 1.0}})


@pytest.mark.parametrize("content", ["{", "", "[1]", "3", b"\xff\xfe", "[" * 10**5, '{"a": 3}'])
def test_results_file_of_another_form(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    for use in (read_results, lambda folder: write_results(folder, {"a": {"mIoU": 1.0}})):
        with pytest.raises(ValueError, match=r"results.json is no results file \(.*; move it away"):
            use(tmp_path)
    assert path.read_bytes() == before


def test_numbers_of():
    results = {"a": {"mIoU": 1.0}, "b": {"mIoU": 2.0, "images": 3}, "c": {"mIoU": 4.0}}
    assert numbers_of(results, ["b"]) == {"mIoU": 2.0, "images": 3}
    assert numbers_of(results, ("a", "b")) == {"a/mIoU": 1.0, "b/mIoU": 2.0, "b/images": 3}
