"""Related classes: the package's table, words in common, and WordNet through both libraries."""

import sys
from importlib import resources
from types import ModuleType, SimpleNamespace

import pytest

from ovseg_d2.vocab import (
    MORE_GENERAL,
    MORE_SPECIFIC,
    SYNONYM,
    Vocabulary,
    list_vocabularies,
    load_vocabulary,
    related_classes,
)
from ovseg_d2.vocab.lines import content_lines, fold_word


def related(vocabulary: Vocabulary, source: str = "table") -> dict[tuple[str, str], str]:
    names = vocabulary.names
    pairs = related_classes(vocabulary, source)
    return {(names[a], names[b]): kind for (a, b), kind in pairs.items()}


def table_pairs() -> list[tuple[str, str, str]]:
    file = resources.files("ovseg_d2.vocab") / "related_classes.txt"
    pairs = []
    for _, line in content_lines(file.read_text(encoding="utf-8")):
        sign = next(sign for sign in (" <> ", " = ", " > ") if sign in line)
        first, others = line.split(sign)
        pairs += [(fold_word(first), sign.strip(), fold_word(o)) for o in others.split(";")]
    return pairs


def test_table_names_are_classes_of_one_list() -> None:
    lists = [{fold_word(name) for name in load_vocabulary(n).names} for n in list_vocabularies()]
    pairs = table_pairs()
    assert len(pairs) > 400 and len(set(pairs)) == len(pairs)
    assert [pair for pair in pairs if not any({pair[0], pair[2]} <= names for names in lists)] == []
    assert [pair for pair in pairs if pair[0] == pair[2]] == []


def test_table_contradicts_itself_nowhere() -> None:
    for name in list_vocabularies():
        pairs = related_classes(load_vocabulary(name))
        turned = {SYNONYM: SYNONYM, MORE_SPECIFIC: MORE_GENERAL, MORE_GENERAL: MORE_SPECIFIC}
        assert all(pairs[b, a] == turned[kind] and a != b for (a, b), kind in pairs.items()), name
    signs = {frozenset((a, b)): sign for a, sign, b in table_pairs()}
    assert len(signs) == len(table_pairs())  # no pair is there twice, or in both directions


def test_related_classes_of_the_benchmarks() -> None:
    ade = related(load_vocabulary("ade150"))
    assert ade["skyscraper", "building"] == ade["house", "building"] == MORE_SPECIFIC
    assert ade["building", "skyscraper"] == MORE_GENERAL
    assert ("house", "skyscraper") not in ade and ("sofa", "armchair") not in ade
    full = related(load_vocabulary("ade847"))
    assert full["skyscraper", "building, edifice"] == MORE_SPECIFIC
    assert full["buckets", "bucket, pail"] == full["bucket, pail", "buckets"] == SYNONYM
    # By a chain: a kind of a synonym, and a kind of a kind.
    assert full["ice bucket", "buckets"] == full["floor spotlight", "light, light source"]
    assert related(load_vocabulary("coco_stuff171"))["wall-brick", "wall-other"] == MORE_SPECIFIC
    assert related(load_vocabulary("context459"))["photo", "picture"] == MORE_SPECIFIC
    assert related(load_vocabulary("cityscapes19"))["rider", "person"] == MORE_SPECIFIC
    assert related(load_vocabulary("voc20")) == {}


def test_words_in_common_are_synonyms_unless_the_table_tells_them_apart() -> None:
    full = related(load_vocabulary("ade847"))
    assert full["patio", "patio, terrace"] == SYNONYM
    toilet = "toilet, can, commode, crapper, pot, potty, stool, throne"
    assert not {(toilet, "throne"), (toilet, "stool"), ("stool", toilet)} & set(full)
    own = Vocabulary.from_names(
        ["Couch", "lounger", "lamp"], synonyms=[["Sofa"], ["sofa "], ["lamp"]]
    )
    assert related(own) == {("Couch", "lounger"): SYNONYM, ("lounger", "Couch"): SYNONYM}


def test_table_holds_for_other_vocabularies_with_its_names() -> None:
    own = related(Vocabulary.parse("Skyscraper, my  thing, building"))
    assert own == {
        ("Skyscraper", "building"): MORE_SPECIFIC,
        ("building", "Skyscraper"): MORE_GENERAL,
    }


def test_related_classes_refuses_other_sources() -> None:
    with pytest.raises(ValueError, match="source is 'web'; choose 'table' or 'wordnet'"):
        related_classes(load_vocabulary("voc20"), "web")


# A word's senses, most frequent first: key, words, keys above.
SENSES = {
    "skyscraper": [("tower block", {"skyscraper"}, {"edifice", "thing"})],
    "building": [("edifice", {"building", "edifice"}, {"thing"})],
    "edifice": [("edifice", {"building", "edifice"}, {"thing"})],
    "monitor": [("watcher", {"monitor"}, {"person"}), ("display", {"monitor", "display"}, set())],
    "person": [("person", {"person"}, set())],
    "traffic light": [("signal", {"traffic light"}, set())],
    "stoplight": [("signal", {"traffic light", "stoplight"}, set())],
}
CLASSES = [
    ["skyscraper"],
    ["building"],
    ["Building", "edifice"],
    ["monitor", "display"],
    ["person"],
]
CLASSES += [["lightthing", "traffic light"], ["stoplight"]]
VOCABULARY = Vocabulary.from_names([str(n) for n in range(len(CLASSES))], synonyms=CLASSES)


def fake_nltk() -> dict[str, ModuleType]:
    def synset(key, words, above):
        return SimpleNamespace(
            name=lambda: key,
            lemma_names=lambda: [word.replace(" ", "_") for word in words],
            hypernyms=lambda: [synset(name, set(), set()) for name in above],
            instance_hypernyms=lambda: [],
            closure=lambda rel: rel(synset(key, words, above)),
        )

    corpus = ModuleType("nltk.corpus")
    corpus.wordnet = SimpleNamespace(
        ensure_loaded=lambda: None,
        synsets=lambda word, pos: [
            synset(*sense) for sense in SENSES.get(word.lower().replace("_", " "), [])
        ],
    )
    return {"nltk": ModuleType("nltk"), "nltk.corpus": corpus, "wn": None}


def fake_wn() -> dict[str, ModuleType]:
    wn = ModuleType("wn")

    def synset(key, words, above):
        return SimpleNamespace(
            id=key,
            lemmas=lambda: list(words),
            closure=lambda *names: [synset(name, set(), set()) for name in above],
        )

    wn.lexicons = lambda lang: ["oewn"]
    wn.synsets = lambda word, pos, lang: [synset(*s) for s in SENSES.get(word.lower(), [])]
    return {"wn": wn}


@pytest.mark.parametrize("library", [fake_nltk, fake_wn])
def test_wordnet_through_both_libraries(library, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in library().items():
        monkeypatch.setitem(sys.modules, name, module)
    found = related(VOCABULARY, "wordnet")
    more = {pair for pair, kind in found.items() if kind == MORE_SPECIFIC}
    # The words of a class choose its sense: this monitor is no person.
    assert more == {("0", "1"), ("0", "2")}
    same = {pair for pair, kind in found.items() if kind == SYNONYM}
    assert same == {("1", "2"), ("2", "1"), ("5", "6"), ("6", "5")}
    assert {pair for pair, kind in found.items() if kind == MORE_GENERAL} == {
        ("1", "0"),
        ("2", "0"),
    }


def test_wordnet_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise LookupError("Resource wordnet not found")

    modules = fake_nltk()
    modules["nltk.corpus"].wordnet.ensure_loaded = missing
    modules["wn"] = fake_wn()["wn"]
    modules["wn"].lexicons = lambda lang: []
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ValueError, match="WordNet is not installed; install NLTK and run"):
        related_classes(VOCABULARY, "wordnet")
