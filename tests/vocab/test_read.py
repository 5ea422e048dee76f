"""`read_words` and `metadata_vocabulary`: every accepted form, and the refused ones."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_d2.vocab import Vocabulary, load_vocabulary, metadata_vocabulary, read_words

PLAIN = Vocabulary.from_names(["red star", "grass", "sky"])
WITH_SYNONYMS = Vocabulary.from_names(
    ["dog", "grass"], synonyms=[["dog", "puppy", "hound"], ["grass"]]
)


@pytest.mark.parametrize(
    "text",
    [
        "red star, grass, sky",
        " red  star,grass ,sky\n",
        "red star; grass; sky",
        "red star\ngrass\n\nsky\n",
        "red star\r\ngrass  # a remark, with a comma\r\nsky",
        "red star,\ngrass,\nsky",
        "red star;\ngrass;\nsky",
        "red star\n, grass\n, sky",
        '["red star", "grass", "sky"]',
        '[["red star"], "grass", "sky"]',
        '{"red star": [], "grass": "grass", "sky": ["sky"]}',
        '[\n  "red star",\n  "grass",\n  "sky"\n]\n',
    ],
)
def test_read_words_text_forms(text: str) -> None:
    assert read_words(text) == PLAIN


@pytest.mark.parametrize(
    "value",
    [
        ["red star", "grass", "sky"],
        ("red star", "grass", "sky"),
        [["red star"], ("grass",), "sky"],
        {"red star": [], "grass": (), "sky": "sky"},
        iter(["red star", "grass", "sky"]),
        {"red star": 0, "grass": 1, "sky": 2}.keys(),
        np.array(["red star", "grass", "sky"]),
        PLAIN,
    ],
)
def test_read_words_value_forms(value: Any) -> None:
    assert read_words(value) == PLAIN


@pytest.mark.parametrize(
    "value",
    [
        "dog | puppy | hound, grass",
        "dog | puppy | hound; grass",
        "dog | puppy | hound\ngrass",
        '{"dog": ["puppy", "hound"], "grass": []}',
        '[["dog", "puppy", "hound"], "grass"]',
        {"dog": ["puppy", "hound"], "grass": []},
        {"dog": ("dog", "puppy", "hound"), "grass": "grass"},
        [["dog", "puppy", "hound"], "grass"],
        (("dog", "puppy", "hound"), ["grass"]),
    ],
)
def test_read_words_keeps_synonyms_in_every_form(value: Any) -> None:
    assert read_words(value) == WITH_SYNONYMS


def test_read_words_reads_class_sets_in_lines() -> None:
    text = "[base]\nsky\ngrass\n[background, novel]\nwall = brick wall | stone wall"
    assert read_words(text) == Vocabulary.from_names(
        ["sky", "grass", "wall"],
        synonyms=[["sky"], ["grass"], ["brick wall", "stone wall"]],
        background=["wall"],
        class_sets={"base": [0, 1], "novel": [2]},
    )


def test_read_words_takes_list_items_literally() -> None:
    assert read_words(["wall, brick", "a; b", "x | y"]).names == ("wall, brick", "a; b", "x | y")


@pytest.mark.parametrize("form", [str, Path, lambda path: [str(path)]])
def test_read_words_reads_files(
    tmp_path: Path,
    form: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    contents = {
        "words.txt": "dog | puppy | hound\ngrass\n",
        "words.json": '{"dog": ["puppy", "hound"], "grass": []}',
        "WORDS.JSON": '[["dog", "puppy", "hound"], "grass"]',
        "my words, again.txt": "\ufeffdog | puppy | hound\r\ngrass",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        with caplog.at_level(logging.INFO, "ovseg_d2"):
            assert read_words(form(tmp_path / name)) == WITH_SYNONYMS
    if form is str:
        assert f"2 classes of the file {tmp_path / 'words.json'}" in caplog.text


def test_read_words_looks_in_working_and_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "classes.txt").write_text("sky\ngrass")
    monkeypatch.chdir(tmp_path)
    assert read_words("classes.txt").names == ("sky", "grass")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_words("~/classes.txt").names == ("sky", "grass")
    # A word that is also the name of a file without a suffix stays a word.
    (tmp_path / "sky").write_text("grass")
    assert read_words("sky").names == ("sky",)


@pytest.mark.parametrize("value", ["ade150", " ADE150 \n", ["ade150"], '["ade150"]'])
def test_read_words_reads_package_lists_by_name(value: Any) -> None:
    assert read_words(value) is load_vocabulary("ade150")


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _endless() -> Iterator[str]:
    while True:
        yield "a"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "name nothing"),
        ("red star, grass; sky", r"hold commas and semicolons.*separate classes by one"),
        ("red star, grass\nsky", r"hold line breaks and commas"),
        ("red star; grass\nsky", r"hold line breaks and semicolons"),
        ("sky;;grass", "entry 2 of 3 is empty; remove the extra semicolon"),
        ("missing.txt", "word list 'missing.txt' does not exist"),
        ("missing.JSON", "word list 'missing.JSON' does not exist"),
        (Path("missing"), "word list 'missing' does not exist"),
        ("https://example.org/words.txt", "does not exist"),
        ("sky, missing.txt", "'missing.txt' names a file; give it alone, or words"),
        (["sky", "words.json"], "'words.json' names a file"),
        ("ade150, sky", "'ade150' names a word list of this package"),
        (["sky", ["grass", "voc20"]], "'voc20' names a word list"),
        (
            "['sky', 'grass']",
            r"but is not valid \(Expecting value at character 1\)",
        ),
        ('["sky", ', "begins like JSON but is not valid"),
        ('["sky", null]', r"classes\[1\] is None \(NoneType\)"),
        ('{"sky": null}', r"classes\['sky'\] is None"),
        ('{"sky": [], "sky": ["blue"]}', "this JSON holds 'sky' twice"),
        ('{"0": "sky", "1": "grass"}', "hold '0', a number, where a class's name belongs"),
        ('{"sky": 0, "grass": 1}', r"classes\['sky'\] is 0 \(int\)"),
        ('{"classes": ["sky", "grass"]}', "hold a list under 'classes'; give the list itself"),
        ('[{"name": "sky"}]', r"classes\[0\] is \{'name': 'sky'\} \(dict\)"),
        ("[" * 100_000, "nested too deeply|begins like JSON"),
        ("[" * 500 + "]" * 500, r"classes\[0\] is \[\["),
        ("[]", "an empty list"),
        ("{}", "an empty dict"),
        ([None, "sky"], r"classes\[0\] is None"),
        (["sky", 3], r"classes\[1\] is 3 \(int\)"),
        (["sky", b"grass"], r"classes\[1\] is b'grass' \(bytes\)"),
        (["sky", []], r"classes\[1\] is \[\]"),
        (["sky", ["grass", None]], r"classes\[1\] is \['grass', None\]"),
        (["sky", {"grass": "lawn"}], r"classes\[1\] is \{'grass': 'lawn'\}"),
        (["sky", [["grass"]]], r"classes\[1\] is \[\['grass'\]\]"),
        (_nested(10_000), r"classes\[0\] is \[\["),
        ({"sky": None}, r"classes\['sky'\] is None"),
        ({"sky": ""}, "the synonyms .* of class 'sky'"),
        ({0: "sky"}, "hold '0', a number"),
        ([], "an empty list"),
        ({}, "an empty dict"),
        ({"sky", "grass"}, r"\(set\), which is not a list of words"),
        (b"sky, grass", r"b'sky, grass' \(bytes\), which is not a list of words"),
        (3, r"3 \(int\), which is not a list"),
        (np.zeros(3), r"\(ndarray\), which is not a list"),
        (_endless(), "more than 100,000 classes"),
        ("a" * 2_000_000, "a text of 2,000,000 characters"),
        ("a" * 2_000, "of 2000 characters is too long"),
        ("sky, gr\0ass", r"'gr\\x00ass' of 6 characters holds control characters"),
        (["sky", "gr\ud800ass"], r"'gr\\ud800ass' of 6 characters holds control characters"),
        (
            ["sky", "SKY "],
            r"classes: names repeat a class: 'sky' \(class 0\) and 'SKY' \(class 1\)",
        ),
    ],
)
def test_read_words_refuses_with_one_short_sentence(value: Any, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read_words(value)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_read_words_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"^--classes 'a, b; c' hold commas and semicolons"):
        read_words("a, b; c", "--classes")


def test_read_words_refuses_other_files_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "latin.txt").write_bytes("sky\nstraße".encode("latin-1"))
    (tmp_path / "utf16.txt").write_bytes("sky\ngrass".encode("utf-16"))
    (tmp_path / "words.csv").write_text("sky,grass")
    (tmp_path / "number.json").write_text("3")
    with open(tmp_path / "large.txt", "wb") as file:
        file.truncate(2**25)
    for name, message in {
        "pipe.txt": "not a regular file",
        "folder.txt": "not a regular file",
        "latin.txt": "is not UTF-8 text .* at byte 8",
        "utf16.txt": "is not UTF-8 text",
        "words.csv": "a file of another format",
        "number.json": "this JSON is 3",
        "large.txt": "has 33,554,432 bytes",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            read_words(str(tmp_path / name))
        assert name in str(caught.value)


def test_metadata_vocabulary_splits_synonyms() -> None:
    vocabulary = metadata_vocabulary(
        {"stuff_classes": [["sky", "cloud"], "wall, brick"]}, "dataset x"
    )
    assert vocabulary is not None
    assert vocabulary.names == ("sky, cloud", "wall, brick")
    assert vocabulary.synonyms == (("sky", "cloud"), ("wall", "brick"))
    vocabulary = metadata_vocabulary({"vocabulary": {"sky": ["cloud"]}}, "dataset x")
    assert vocabulary == Vocabulary.from_names(["sky"], synonyms=[["sky", "cloud"]])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("sky, grass", r"dataset x: stuff_classes is 'sky, grass' \(str\)"),
        ({"sky": 0}, r"stuff_classes is \{'sky': 0\} \(dict\)"),
        (["sky", None], r"stuff_classes\[1\] is None"),
        (["sky", 3], r"stuff_classes\[1\] is 3"),
        (["sky", b"grass"], r"stuff_classes\[1\] is b'grass'"),
        (["sky", ["grass", None]], r"stuff_classes\[1\] is \['grass', None\]"),
        (["sky", []], r"stuff_classes\[1\] is \[\] \(list\); give the class's name"),
        (["sky", " , "], r"stuff_classes\[1\] is ' , ', which is empty; give every class a name"),
    ],
)
def test_metadata_vocabulary_refuses_other_values(classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metadata_vocabulary({"stuff_classes": classes}, "dataset x")


def test_read_words_refuses_json_of_huge_numbers() -> None:
    with pytest.raises(ValueError, match=r"classes\[1\] is inf"):
        read_words(json.dumps(["sky"])[:-1] + ", " + "9" * 10_000 + "]")


def test_a_zero_byte_behind_a_tilde_is_refused():
    with pytest.raises(ValueError, match="control"):
        read_words("~a\0b, grass")
