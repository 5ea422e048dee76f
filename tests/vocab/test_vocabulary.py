"""`Vocabulary`: construction, errors, subsets, unions and keys."""

import pickle
from pathlib import Path

import pytest

from ovseg_d2.vocab import Vocabulary


def _shapes() -> Vocabulary:
    return Vocabulary.from_names(
        ["red star", "grass", "sky", "brick"],
        synonyms=[["red star"], ["grass", "lawn"], ["sky"], ["brick wall"]],
        background=["grass", "brick"],
        class_sets={"base": [0, 1], "novel": [3, 2]},
    )


def test_from_names_defaults() -> None:
    vocabulary = Vocabulary.from_names(["red  star ", "grass"])
    assert vocabulary.names == ("red star", "grass")
    assert vocabulary.synonyms == (("red star",), ("grass",))
    assert vocabulary.background == ()
    assert len(vocabulary) == 2


def test_vocabulary_is_equal_by_content_hashable_and_picklable() -> None:
    vocabulary = _shapes()
    assert vocabulary == _shapes()
    assert hash(vocabulary) == hash(_shapes())
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert vocabulary != vocabulary.subset([0, 1, 2])


def test_class_sets_are_copied_sorted_and_immutable() -> None:
    given = {"base": [1, 0, 1]}
    vocabulary = Vocabulary.from_names(["a", "b"], class_sets=given)
    given["base"].append(7)
    assert vocabulary.class_sets == {"base": (0, 1)}
    with pytest.raises(TypeError):
        vocabulary.class_sets["base"] = (0,)  # type: ignore[index]
    with pytest.raises(KeyError, match=r"no class set 'novel'; there are \['base'\]"):
        vocabulary.class_sets["novel"]


def test_parse_splits_at_commas_bars_and_equals() -> None:
    vocabulary = Vocabulary.parse(" red star, grass | lawn,wall-brick = brick wall|wall of bricks ")
    assert vocabulary.names == ("red star", "grass", "wall-brick")
    assert vocabulary.synonyms == (
        ("red star",),
        ("grass", "lawn"),
        ("brick wall", "wall of bricks"),
    )


def test_from_names_takes_commas_and_bars_literally() -> None:
    names = ("door, double door", "a|b", "x=y")
    assert Vocabulary.from_names(names).names == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name nothing"),
        ("  ", "name nothing"),
        ("sky,,grass", "entry 2 of 3 is empty"),
        ("sky, grass,", "entry 3 of 3 is empty"),
        ("sky, grass|", "'grass\\|' holds an empty word"),
        ("sky, = grass", "'= grass' holds an empty word"),
        ("Blue  sky, grass, blue SKY", r"'Blue sky' \(class 0\) and 'blue SKY' \(class 2\)"),
    ],
)
def test_parse_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.parse(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "names is empty"),
        ({"names": ["sky", " \t"]}, r"names\[1\] is empty"),
        ({"names": "sky"}, "single string 'sky'"),
        ({"names": ["sky", 3]}, "must be a string, got 3"),
        ({"names": ["straße", "STRASSE"]}, "'straße' .* 'STRASSE'"),
        ({"names": ["sky"], "synonyms": [["sky"], ["air"]]}, "2 classes but names hold 1"),
        ({"names": ["sky"], "synonyms": [[]]}, r"synonyms \[\] of class 'sky'"),
        ({"names": ["sky"], "synonyms": [["sky", " "]]}, "give at least one word"),
        ({"names": ["sky"], "synonyms": ["sky"]}, "single string 'sky'"),
        ({"names": ["sky"], "background": ["wall"]}, "'wall' is not a class"),
        ({"names": ["sky"], "background": "sky"}, "single string 'sky'"),
        ({"names": ["sky"], "class_sets": {"base": [1]}}, r"\['base'\] holds the index 1"),
        ({"names": ["sky"], "class_sets": {"base": [-1]}}, r"\['base'\] holds the index -1"),
    ],
)
def test_from_names_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_names(**arguments)  # type: ignore[arg-type]


def test_constructor_refuses_a_single_string() -> None:
    with pytest.raises(ValueError, match="single string 'sky'"):
        Vocabulary("sky")  # type: ignore[arg-type]


def test_synonyms_drop_repeats_within_a_class_only() -> None:
    vocabulary = Vocabulary.from_names(
        ["door", "gate"], synonyms=[["door", "Door ", "gate"], ["gate"]]
    )
    assert vocabulary.synonyms == (("door", "gate"), ("gate",))


def test_index_and_background_ids() -> None:
    vocabulary = _shapes()
    assert vocabulary.index(" Sky") == 2
    assert vocabulary.background_ids == (1, 3)
    with pytest.raises(ValueError, match="'sea' is not a class of this vocabulary of 4"):
        vocabulary.index("sea")


def test_background_ignores_case_and_order() -> None:
    vocabulary = Vocabulary.from_names(["sky", "Grass"], background=["grass ", "Sky", "grass"])
    assert vocabulary.background == ("sky", "Grass")


def test_subset_keeps_the_given_order() -> None:
    expected = Vocabulary.from_names(
        ["brick", "red star"],
        synonyms=[["brick wall"], ["red star"]],
        background=["brick"],
        class_sets={"base": [1], "novel": [0]},
    )
    assert _shapes().subset([3, 0]) == expected
    assert _shapes().subset(["brick", "Red star"]) == expected


def test_subset_keeps_empty_class_sets() -> None:
    assert _shapes().subset([0]).class_sets == {"base": (0,), "novel": ()}


@pytest.mark.parametrize(
    ("classes", "message"),
    [([4], "index 4"), ([-1], "index -1"), ([], "empty"), ([1, 1], "repeat"), (["sea"], "'sea'")],
)
def test_subset_refuses(classes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _shapes().subset(classes)


def test_union_appends_new_classes_and_joins_equal_ones() -> None:
    other = Vocabulary.from_names(
        ["sea", "Grass"],
        synonyms=[["sea"], ["meadow", "lawn"]],
        background=["sea"],
        class_sets={"novel": [0], "stuff": [0, 1]},
    )
    assert _shapes().union(other) == Vocabulary.from_names(
        ["red star", "grass", "sky", "brick", "sea"],
        synonyms=[["red star"], ["grass", "lawn", "meadow"], ["sky"], ["brick wall"], ["sea"]],
        background=["grass", "brick", "sea"],
        class_sets={"base": [0, 1], "novel": [2, 3, 4], "stuff": [1, 4]},
    )
    assert _shapes().union(_shapes()) == _shapes()


def test_key_is_stable_and_depends_on_every_field() -> None:
    # A literal, because the key must not depend on machine, process or version.
    assert Vocabulary.from_names(["sky"]).key().startswith("22c8791839918fc4")
    base = {"names": ["a", "b"]}
    variants: list[dict[str, object]] = [
        base,
        {"names": ["b", "a"]},
        base | {"synonyms": [["a", "c"], ["b"]]},
        base | {"background": ["a"]},
        base | {"class_sets": {"base": [0]}},
    ]
    keys = {Vocabulary.from_names(**variant).key() for variant in variants}  # type: ignore[arg-type]
    assert len(keys) == len(variants)


def test_key_ignores_the_order_of_class_sets() -> None:
    one = Vocabulary.from_names(["a", "b"], class_sets={"x": [0], "y": [1]})
    two = Vocabulary.from_names(["a", "b"], class_sets={"y": [1], "x": [0]})
    assert one == two
    assert hash(one) == hash(two)
    assert one.key() == two.key()


def test_from_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(
        "\ufeff# my scene\n"
        "door, double door\n"
        "\n"
        "[base, things]\n"
        "red star   # a shape\n"
        "[background]\n"
        "grass | lawn\n"
        "[]\n"
        "wall-brick = brick wall\n",
        encoding="utf-8",
    )
    assert Vocabulary.from_file(path) == Vocabulary.from_names(
        ["door, double door", "red star", "grass", "wall-brick"],
        synonyms=[["door, double door"], ["red star"], ["grass", "lawn"], ["brick wall"]],
        background=["grass"],
        class_sets={"base": [1], "things": [1]},
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nothing\n", "words.txt: names is empty"),
        ("sky\nSKY\n", r"words.txt: names repeat a class: 'sky' \(class 0\)"),
        ("sky\n\ngrass ||\n", "words.txt, line 3: 'grass \\|\\|' holds an empty word"),
    ],
)
def test_from_file_errors_name_the_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_file(path)


def test_from_file_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing.txt"):
        Vocabulary.from_file(tmp_path / "missing.txt")
