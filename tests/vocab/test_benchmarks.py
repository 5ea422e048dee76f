"""The word lists: sizes, orders, spellings and unseen classes of the zero-shot protocols."""

from importlib import resources

import pytest

from ovseg_d2.vocab import Vocabulary, list_vocabularies, load_vocabulary

_SIZES = {
    "ade150": 150,
    "ade150_sclip": 150,
    "ade150_synonyms": 150,
    "ade847": 847,
    "background_sclip": 1,
    "cityscapes19": 19,
    "cityscapes19_sclip": 19,
    "coco_object": 81,
    "coco_object_clearclip": 81,
    "coco_object_lposs": 81,
    "coco_object_proxyclip": 81,
    "coco_object_sclip": 81,
    "coco_stuff171": 171,
    "coco_stuff171_raw": 171,
    "coco_stuff171_sclip": 171,
    "context459": 459,
    "context459_ovseg": 459,
    "context59": 59,
    "context59_lposs": 59,
    "context59_pixelclip": 59,
    "context59_sclip": 59,
    "context60": 60,
    "context60_lposs": 60,
    "context60_sclip": 60,
    "negative_words": 64,
    "voc20": 20,
    "voc20_clearclip": 20,
    "voc20_lposs": 20,
    "voc20_raw": 20,
    "voc20_sclip": 20,
    "voc21": 21,
    "voc21_clearclip": 21,
    "voc21_lposs": 21,
    "voc21_proxyclip": 21,
    "voc21_sclip": 21,
}
# The classes that MaskCLIP+ trains without labels, as published: indices and words.
_UNSEEN = {
    "voc20": ([15, 16, 17, 18, 19], "potted plant|sheep|sofa|train|tv monitor"),
    "voc21": ([16, 17, 18, 19, 20], "potted plant|sheep|sofa|train|tv monitor"),
    "context60": (
        [20, 34, 49, 15, 8, 25, 7, 55, 32, 1],
        "cow|motorbike|sofa|cat|boat|fence|bird|tv monitor|keyboard|airplane",
    ),
    "coco_stuff171": (
        [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160],
        "cow|giraffe|suitcase|frisbee|skateboard|carrot|scissors|cardboard|clouds|grass|"
        "playingfield|river|road|tree|concrete wall",
    ),
}


def _lines(name: str) -> list[str]:
    file = resources.files("ovseg_d2.vocab").joinpath("lists", f"{name}.txt")
    return file.read_text(encoding="utf-8").splitlines()


def test_list_vocabularies_and_sizes() -> None:
    assert {name: len(load_vocabulary(name)) for name in list_vocabularies()} == _SIZES
    assert list(list_vocabularies()) == sorted(_SIZES)


@pytest.mark.parametrize("name", sorted(_SIZES))
def test_list_files_have_a_header_and_are_clean(name: str) -> None:
    lines = _lines(name)
    assert lines[0].startswith("# ") and len(lines[0]) > 20
    assert all(line == line.rstrip() and line.isascii() for line in lines)
    assert all(len(line) <= 100 for line in lines if line.startswith("#"))
    entries = [line for line in lines if line and line[0] not in "#["]
    assert len(entries) == _SIZES[name]


def test_load_vocabulary_unknown_name_lists_all() -> None:
    with pytest.raises(ValueError, match=r"no word list 'voc'; choose one of ade150, .*voc20"):
        load_vocabulary("voc")
    # A path is not a name.
    with pytest.raises(ValueError, match="no word list"):
        load_vocabulary("../lists/voc20")


def test_load_vocabulary_reads_once() -> None:
    assert load_vocabulary("voc20") is load_vocabulary("voc20")


# Some classes of every order by label id: first, last, and some that tell orders apart.
@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("voc20", {0: "aeroplane", 10: "diningtable", 14: "person", 19: "tvmonitor"}),
        ("voc21", {0: "background", 1: "aeroplane", 15: "person", 20: "tvmonitor"}),
        ("context59", {0: "aeroplane", 1: "bag", 39: "pottedplant", 49: "table", 58: "wood"}),
        ("context60", {0: "background", 1: "aeroplane", 50: "table", 59: "wood"}),
        ("context459", {0: "accordion", 1: "aeroplane", 259: "mouse", 430: "unknown", 458: "wool"}),
        (
            "coco_stuff171",
            {0: "person", 79: "toothbrush", 80: "banner", 159: "wall-brick", 170: "wood"},
        ),
        ("coco_object", {0: "background", 1: "person", 60: "bed", 80: "toothbrush"}),
        ("ade150", {0: "wall", 7: "bed", 8: "windowpane", 100: "poster", 149: "flag"}),
        (
            "ade847",
            {
                0: "wall",
                1: "building, edifice",
                782: "central processing unit, cpu, c p u , central processor, processor, "
                "mainframe",
                846: "adding machine, totalizer, totaliser",
            },
        ),
        ("cityscapes19", {0: "road", 6: "traffic light", 12: "rider", 18: "bicycle"}),
    ],
)
def test_label_order(name: str, known: dict[int, str]) -> None:
    names = load_vocabulary(name).names
    assert {i: names[i] for i in known} == known


# Label ids of the 59 among the 459, from the annotations' 59_labels.txt.
_IDS_59 = (
    "2 9 18 19 22 23 25 31 33 34 44 45 46 59 65 68 72 80 85 98 104 105 113 115 144 158 159 162 187 "
    "189 207 220 232 258 259 260 284 295 296 308 324 326 347 349 354 355 360 366 368 397 415 416 "
    "420 424 427 440 445 454 458"
)


def test_context_orders() -> None:
    names, all_names = load_vocabulary("context59").names, load_vocabulary("context459").names
    assert list(names) == sorted(names)
    assert names == tuple(all_names[int(i) - 1] for i in _IDS_59.split())
    # The order is that of the spaced words: "fish tank" stands before "fishbowl".
    words = [group[0] for group in load_vocabulary("context459").synonyms]
    words = ["aeroplane" if word == "airplane" else word for word in words]
    assert words == sorted(words)


@pytest.mark.parametrize(
    ("with_background", "without"),
    [
        ("voc21", "voc20"),
        ("context60", "context59"),
        ("voc21_sclip", "voc20_sclip"),
        ("context60_sclip", "context59_sclip"),
        ("voc21_clearclip", "voc20_clearclip"),
        ("voc21_lposs", "voc20_lposs"),
        ("context60_lposs", "context59_lposs"),
    ],
)
def test_background_comes_first_and_changes_nothing_else(
    with_background: str, without: str
) -> None:
    full, bare = load_vocabulary(with_background), load_vocabulary(without)
    assert full.background == ("background",) and full.background_ids == (0,)
    assert bare.background == ()
    assert full.names[1:] == bare.names and full.synonyms[1:] == bare.synonyms


@pytest.mark.parametrize("name", sorted(_UNSEEN))
def test_unseen_classes_have_published_indices_and_words(name: str) -> None:
    ids, words = _UNSEEN[name]
    vocabulary = load_vocabulary(name)
    assert [vocabulary.synonyms[i][0] for i in ids] == words.split("|")
    assert vocabulary.class_sets["unseen"] == tuple(sorted(ids))
    seen = set(range(len(vocabulary))) - set(ids)
    assert set(vocabulary.class_sets["seen"]) == seen


def test_unseen_classes_of_context59_and_context60_agree() -> None:
    ids = _UNSEEN["context60"][0]
    assert load_vocabulary("context59").class_sets["unseen"] == tuple(sorted(i - 1 for i in ids))


def test_coco_stuff_has_readable_words_and_official_names() -> None:
    vocabulary = load_vocabulary("coco_stuff171")
    renamed = {
        name: words
        for name, words in zip(vocabulary.names, vocabulary.synonyms, strict=True)
        if words != (name,)
    }
    assert len(renamed) == 29
    assert renamed["wall-brick"] == ("brick wall",)
    assert renamed["building-other"] == ("building",)
    # Names with a hyphen are for tables; no prompt word has one.
    assert not any("-" in word for words in vocabulary.synonyms for word in words)
    assert sum("-" in name for name in vocabulary.names) == 29
    official = Vocabulary.from_names(vocabulary.names)
    assert official.synonyms[vocabulary.index("wall-brick")] == ("wall-brick",)


def test_coco_object_holds_the_things_of_coco_stuff() -> None:
    things = load_vocabulary("coco_stuff171").names[:80]
    assert load_vocabulary("coco_object").names == ("background", *things)


def test_context459_words_are_the_spaced_names() -> None:
    vocabulary = load_vocabulary("context459")
    differing = {
        name: words
        for name, words in zip(vocabulary.names, vocabulary.synonyms, strict=True)
        if words[0].replace(" ", "") != name
    }
    assert differing == {"aeroplane": ("airplane",)}
    # The 59 classes are among the 459, with the same spelling.
    assert set(load_vocabulary("context59").names) <= set(vocabulary.names)


def test_ade150_synonyms_has_the_classes_of_ade150() -> None:
    plain, rich = load_vocabulary("ade150"), load_vocabulary("ade150_synonyms")
    assert plain.names == rich.names
    assert all(len(words) == 1 for words in plain.synonyms)
    assert sum(len(words) > 1 for words in rich.synonyms) == 41
    # Only classes for which the two sources choose different first words.
    renamed = {
        name: words
        for name, words in zip(rich.names, rich.synonyms, strict=True)
        if name not in words
    }
    assert len(renamed) == 10
    assert renamed["windowpane"] == ("window",)
    assert renamed["television receiver"] == ("tv",)


def test_ade847_joined_words_are_the_names() -> None:
    vocabulary = load_vocabulary("ade847")
    assert sum("," in name for name in vocabulary.names) == 217
    for name, words in zip(vocabulary.names, vocabulary.synonyms, strict=True):
        assert ", ".join(words) == name.replace(" ,", ",")


def test_sclip_background_words() -> None:
    background = load_vocabulary("background_sclip")
    assert background.background == ("background",)
    assert len(background.synonyms[0]) == 26
    assert background.synonyms[0][:3] == ("sky", "wall", "tree")
    assert background.union(load_vocabulary("voc20_sclip")) == load_vocabulary("voc21_sclip")
    assert load_vocabulary("coco_object_sclip").synonyms[0] == background.synonyms[0]


# The classes of each list whose words differ from those of another list, by label id.
@pytest.mark.parametrize(
    ("name", "base", "differing"),
    [
        ("context59_sclip", "context59", [0, 39, 54]),
        ("context60_sclip", "context60", [1, 40, 55]),
        ("cityscapes19_sclip", "cityscapes19", [6, 7]),
        (
            "ade150_sclip",
            "ade150",
            [44, 56, 58, 64, 73, 75, 78, 89, 91, 105, 109, 123, 136, 141, 144],
        ),
        (
            "coco_stuff171_sclip",
            "coco_stuff171",
            [
                *(9, 10, 11, 12, 32, 34, 35, 38, 40, 52, 58, 60, 67, 77, 78),
                *(84, 90, 91, 98, 100, 102, 103, 104, 105, 106, 109, 111, 114, 121, 130),
                *(145, 148, 152, 155, 159, 160, 161, 162, 163, 164, 165, 166, 168, 169),
            ],
        ),
        (
            "coco_stuff171_raw",
            "coco_stuff171",
            [
                *(84, 90, 91, 98, 100, 102, 103, 104, 105, 106, 109, 111, 114, 121, 130),
                *(145, 148, 152, 155, 159, 160, 161, 162, 163, 164, 165, 166, 168, 169),
            ],
        ),
        ("context59_pixelclip", "context59_sclip", [49]),
        ("context459_ovseg", "context459", [1, 307, 426]),
        ("voc20_raw", "voc20", [0, 10, 15, 19]),
        ("voc20_clearclip", "voc20_sclip", [14, 19]),
        ("voc21_clearclip", "voc21_sclip", [0, 15, 20]),
        ("coco_object_clearclip", "coco_object_sclip", [0, 1]),
        ("voc21_lposs", "voc21", [0, 1, 20]),
        ("voc20_lposs", "voc20", [0, 19]),
        ("context60_lposs", "context60", [1, 55]),
        ("context59_lposs", "context59", [0, 54]),
        ("coco_object_lposs", "coco_object", [0, 5]),
        ("voc21_proxyclip", "voc21_clearclip", [0]),
        ("coco_object_proxyclip", "coco_object_clearclip", [0]),
    ],
)
def test_words_of_a_method_differ_in_known_classes(
    name: str, base: str, differing: list[int]
) -> None:
    vocabulary, other = load_vocabulary(name), load_vocabulary(base)
    assert vocabulary.names == other.names and vocabulary.background == other.background
    pairs = zip(vocabulary.synonyms, other.synonyms, strict=True)
    assert [i for i, (words, others) in enumerate(pairs) if words != others] == differing


def test_words_that_sclip_joins_or_keeps_raw() -> None:
    stuff = load_vocabulary("coco_stuff171_sclip")
    assert stuff.synonyms[9] == ("trafficlight",) and stuff.names[9] == "traffic light"
    # From the first kind of stuff on, words are the benchmark's names as they are.
    assert all(w == (n,) for w, n in zip(stuff.synonyms[80:], stuff.names[80:], strict=True))
    for name in ("ade150_sclip", "cityscapes19_sclip", "context59_sclip"):
        vocabulary = load_vocabulary(name)
        for class_name, words in zip(vocabulary.names, vocabulary.synonyms, strict=True):
            assert words == (class_name.replace(" ", ""),)


def test_words_of_ovseg_and_pixelclip_that_are_not_readable() -> None:
    for name in ("voc20_raw", "coco_stuff171_raw"):
        vocabulary = load_vocabulary(name)
        assert vocabulary.synonyms == tuple((class_name,) for class_name in vocabulary.names)
    context = load_vocabulary("context59_pixelclip")
    assert context.synonyms[49] == ("diningtable",) and context.names[49] == "table"
    many = load_vocabulary("context459_ovseg")
    assert [many.synonyms[i][0] for i in (1, 307, 426)] == ["aeroplane", "pottedplant", "tvmonitor"]
    assert many.synonyms[2] == ("air conditioner",)


def test_words_of_clearclip_for_voc() -> None:
    voc = load_vocabulary("voc21_clearclip")
    several = {n: w for n, w in zip(voc.names, voc.synonyms, strict=True) if w != (n,)}
    assert several == {"boat": ("ship",), "diningtable": ("table",)}


@pytest.mark.parametrize("name", ["voc20", "voc21", "coco_object"])
def test_sclip_lists_have_the_same_classes(name: str) -> None:
    assert load_vocabulary(f"{name}_sclip").names == load_vocabulary(name).names
