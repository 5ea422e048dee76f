"""JSON and lines of JSON: what is damaged costs its line, and what is no file is not waited for."""

import os

import pytest

from ovseg_d2 import json_files
from ovseg_d2.data.datasets import caption_dicts
from ovseg_d2.json_files import (
    LeftOut,
    check_name,
    check_text,
    printable,
    read_json,
    read_json_lines,
    shorten,
)
from ovseg_d2.masks import PairFileError, read_masks, read_pair_info, read_pairs
from ovseg_d2.mining import read_coco_captions

BAD_LINES = {
    "no UTF-8": (b'{"a": "\xff"}', "byte 7 is no UTF-8"),
    "nesting without end": (b"[" * 200_000, "nested too deep"),
    "a number without end": (b'{"a": 1' + b"0" * 5000 + b"}", "no JSON"),
    "cut off": (b'{"a": ', "is cut off or no JSON"),
    "no object": (b"[1]", "is a list and no JSON object"),
    "too long": (b'{"a": "' + b"x" * 300_000 + b'"}', "has more than"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_left_out_and_counted(tmp_path, monkeypatch, case):
    line, words = BAD_LINES[case]
    monkeypatch.setattr(json_files, "_MAX_LINE", 2**18)
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\n\n' + line + b'\r\n{"n": 4}\n' + line)
    left_out = LeftOut()
    found = list(read_json_lines(path, left_out))
    assert found == [(1, {"n": 1}), (4, {"n": 4})]
    assert left_out.count == 2
    assert left_out.reasons[0].startswith("line 3 ") and words in left_out.reasons[0]
    assert str(left_out).startswith("2 lines are left out: line 3 ")


def test_only_the_first_reasons_are_kept():
    left_out = LeftOut()
    for number in range(1, 10):
        left_out.add(number, "is bad")
    assert str(left_out) == (
        "9 lines are left out: line 1 is bad; line 2 is bad; line 3 is bad; ..."
    )
    alone = LeftOut()
    alone.add(7, "is bad")
    assert str(alone) == "1 line is left out: line 7 is bad"


@pytest.mark.parametrize(
    "read",
    [read_pairs, read_pair_info, read_coco_captions, caption_dicts, read_masks],
    ids=lambda read: read.__name__,
)
def test_pipe_and_device_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is a pipe, and only regular files are read; "):
        read(tmp_path / "pipe")
    with pytest.raises(ValueError, match="/dev/zero: it is a device, and only regular files"):
        read("/dev/zero")
    with pytest.raises(ValueError, match="the system says 'File name too long'; "):
        read(tmp_path / ("x" * 300))
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(ValueError, match="the system says 'no name of a file'; "):
            read(tmp_path / name)


def test_printable_escapes_names(tmp_path):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff.jsonl"))
    with pytest.raises(PairFileError) as caught:
        read_pairs(path)
    assert r"\udcff.jsonl: there is no such file" in str(caught.value)
    str(caught.value).encode("utf-8")
    assert printable("a/é 사진.jpg") == "a/é 사진.jpg"
    assert printable("a\nb\x1b\ud800") == r"a\nb\x1b\ud800"


def test_files_of_bounded_size(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2]}')
    assert read_json(path, max_bytes=13) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="it has more than 0 MiB"):
        read_json(path, max_bytes=12)


def test_check_text_and_check_name():
    assert check_text("été", "noun") == "été"
    assert check_text(" ", "caption", blank=True) == " "
    for text in (" ", None, 3, ["a"], "\ud800", "a\udcff"):
        with pytest.raises(ValueError, match="has the noun "):
            check_text(text, "noun")
    assert check_name("\udcff.jpg", "image") == "\udcff.jpg"  # a byte that is no UTF-8
    for name in ("", None, "a\0b", "\ud800"):
        with pytest.raises(ValueError, match="has the image "):
            check_name(name, "image")


def test_shorten():
    deep: list = []
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10**6, 10**400, list(range(10**5)), {"a" * 99: deep}):
        assert len(shorten(value)) <= 60
