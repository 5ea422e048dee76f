"""Taggers: HanTa's real model, and spaCy and NLTK as fake modules."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from ovseg_d2.mining import TAGGERS, HanTaTagger, TaggedWord, build_tagger
from ovseg_d2.mining.taggers import _TOKEN


@pytest.fixture(scope="module")
def hanta() -> HanTaTagger:
    return HanTaTagger()


def kinds(words: list[TaggedWord]) -> str:
    """The words of a caption, nouns as word/n and adjectives as word/a."""
    return " ".join(w.text + {"noun": "/n", "adjective": "/a", "other": ""}[w.kind] for w in words)


@pytest.mark.parametrize(
    "expected",
    [
        "A man/n riding a wave/n on top/n of a surfboard/n .",
        "Two brown/a dogs/n are playing with a frisbee/n in the park/n",
        "Several people/n standing around a red/a fire/n hydrant/n",
        "a photo/n of a red/a star/n",
        "green/a stripes/n , an orange/a ring/n and purple/a waves/n on sand/n and grass/n",
    ],
)
def test_hanta_tags_captions(hanta, expected):
    caption = expected.replace("/n", "").replace("/a", "").replace(" .", ".").replace(" ,", ",")
    assert kinds(hanta(caption)) == expected


def test_hanta_of_captions_without_words(hanta):
    assert hanta("") == hanta("  \n") == []
    assert [word.kind for word in hanta("!? ...")] == ["other"] * 5
    assert hanta("🙂 été")[-1].text == "été"


def test_hanta_splits_at_spaces_and_punctuation():
    assert _TOKEN.findall("A man's T-shirt, red/blue (new) x_y") == (
        ["A", "man's", "T-shirt", ",", "red", "/", "blue", "(", "new", ")", "x", "y"]
    )


def test_build_tagger_refuses_unknown_names_and_options():
    with pytest.raises(ValueError, match="tagger 'brill' is unknown; choose one of hanta, spacy"):
        build_tagger("brill")
    with pytest.raises(ValueError, match="'hanta' has no option 'model'; it has: none"):
        build_tagger("hanta", model="x")
    assert set(TAGGERS) == {"hanta", "spacy", "nltk"}


@pytest.mark.parametrize("name", ["spacy", "nltk"])
def test_build_tagger_refuses_a_missing_package(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    told = (
        rf"tagger '{name}': .* is not installed .*; run `pip install {name}`, or choose .*'hanta'"
    )
    with pytest.raises(ValueError, match=told):
        build_tagger(name)


@pytest.fixture
def fake_module(monkeypatch):
    """Give a function that puts a fake module in place of one that is not installed."""

    def put(name: str, **functions: object) -> None:
        module = ModuleType(name)
        module.__dict__.update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    return put


def test_spacy_tags_captions(fake_module):
    class Pipeline:
        pipe_names = ["tok2vec", "tagger"]

        def __call__(self, text):
            tags = {"red": "ADJ", "star": "NOUN", "London": "PROPN", "runs": "VERB"}
            for word in text.split(" "):
                yield SimpleNamespace(text=word, pos_=tags.get(word, "X"), is_space=not word)

    asked = []
    fake_module("spacy", load=lambda model, exclude: asked.append(model) or Pipeline())
    tagger = build_tagger("spacy", model="en_core_web_md")
    assert asked == ["en_core_web_md"]
    assert kinds(tagger("red star  runs London")) == "red/a star/n runs London/n"


def test_spacy_refuses_a_missing_model(fake_module):
    def load(model, exclude):
        raise OSError(f"[E050] Can't find model '{model}'.\nA second line.")

    fake_module("spacy", load=load)
    with pytest.raises(ValueError, match="run `python -m spacy download en_core_web_sm`") as caught:
        build_tagger("spacy")
    assert "\n" not in str(caught.value)
    blank = SimpleNamespace(pipe_names=["sentencizer"])
    fake_module("spacy", load=lambda model, exclude: blank)
    with pytest.raises(ValueError, match=r"'en_core_web_sm' tags no words .*\['sentencizer'\]"):
        build_tagger("spacy")


def test_nltk_tags_captions(fake_module):
    tags = {"red": "JJ", "redder": "JJR", "stars": "NNS", "London": "NNP", "runs": "VBZ"}
    fake_module("nltk", pos_tag=lambda words: [(word, tags.get(word, ".")) for word in words])
    tagger = build_tagger("nltk")
    assert kinds(tagger("redder stars runs, London.")) == "redder/a stars/n runs , London/n ."


def test_nltk_refuses_a_missing_model(fake_module):
    def pos_tag(words):
        raise LookupError("\n****\nResource not found.")

    fake_module("nltk", pos_tag=pos_tag)
    with pytest.raises(ValueError, match="nltk.downloader averaged_perceptron_tagger_eng"):
        build_tagger("nltk")
