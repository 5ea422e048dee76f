"""Files of captions as datasets."""

import json
import logging

import pytest

from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.data.datasets import CAPTION_SETS, caption_dicts

LINES = [
    {"file_name": "images/1.jpg", "captions": ["a dog", "two dogs"]},
    {"file_name": "/elsewhere/2.jpg", "captions": ["grass"]},
]
BROKEN = [
    '{"file_name": "cut',
    "[]",
    '{"file_name": "3.jpg"}',
    '{"file_name": "3.jpg", "captions": []}',
    '{"file_name": "3.jpg", "captions": "a dog"}',
    '{"captions": ["a dog"]}',
    '{"file_name": "3.jpg", "captions": [1]}',
]


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_caption_dicts_names_are_relative_to_file(tmp_path):
    path = write(tmp_path / "captions.jsonl", map(json.dumps, LINES))
    assert caption_dicts(path) == [
        {"file_name": str(tmp_path / "images/1.jpg"), "image_id": 1, **_captions(0)},
        {"file_name": "/elsewhere/2.jpg", "image_id": 2, **_captions(1)},
    ]


def _captions(number):
    return {"captions": LINES[number]["captions"]}


def test_caption_dicts_warns_of_broken_lines(tmp_path, caplog):
    path = write(tmp_path / "captions.jsonl", [*BROKEN, json.dumps(LINES[0])])
    with caplog.at_level(logging.WARNING):
        assert [entry["image_id"] for entry in caption_dicts(path)] == [len(BROKEN) + 1]
    assert f"{len(BROKEN)} lines are left out: line 1 is cut off or no JSON (" in caplog.text
    assert caplog.text.strip().endswith("; ...")


def test_caption_dicts_refuses_file_without_captions(tmp_path):
    with pytest.raises(ValueError, match="holds no image with captions; write"):
        caption_dicts(write(tmp_path / "captions.jsonl", BROKEN))


def test_caption_sets_are_read_at_use(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for name, (file, evaluator_type) in CAPTION_SETS.items():
        assert MetadataCatalog.get(name).evaluator_type == evaluator_type
        with pytest.raises(FileNotFoundError, match=f"dataset '{name}': there is no .*{file}"):
            DatasetCatalog.get(name)
        write(tmp_path / file, map(json.dumps, LINES))
        assert len(DatasetCatalog.get(name)) == 2


def test_caption_dicts_leaves_out_undecodable_lines(tmp_path, caplog):
    path = tmp_path / "captions.jsonl"
    good = json.dumps(LINES[0]).encode()
    bad = [b'{"file_name": "\xff", "captions": ["a"]}', b"[" * 10**5, b'{"a": 1' + b"0" * 5000]
    bad += [b'{"file_name": "a", "captions": ["\\ud800"]}', b'{"file_name": "\\u0000"}']
    path.write_bytes(b"\n".join([good, *bad, good]))
    with caplog.at_level(logging.WARNING):
        assert [entry["image_id"] for entry in caption_dicts(path)] == [1, 7]
    assert "5 lines are left out: line 2 is cut off or no JSON (byte 15 is no UTF-8)" in caplog.text
