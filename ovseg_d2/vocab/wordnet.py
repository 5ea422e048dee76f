"""Synonyms and kinds among classes by WordNet, through `wn` or NLTK where one is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

__all__ = ["relate_by_wordnet"]


class _Sense(NamedTuple):
    """A meaning of a noun.

    Attributes:
        key: of the synset.
        words: all words for it, in lower case.
        above: keys of the synsets that it is a kind of, near or far.
    """

    key: str
    words: frozenset[str]
    above: Callable[[], set[str]]


def relate_by_wordnet(classes: Sequence[Sequence[str]]) -> dict[tuple[int, int], bool]:
    """Relate classes by the hypernyms of WordNet.

    A class has one meaning: of those of its first word that WordNet knows, the one that most of the
    words of the class share, else the most frequent one.

    Args:
        classes: words of each class.

    Returns:
        Numbers of classes (a, b) -> True if a is a kind of b, False if both have one meaning, which
        is there in both orders. Nothing is downloaded.

    Raises:
        ValueError: neither library is installed with an English WordNet.
    """
    lookup = _open_wn() or _open_nltk()
    if lookup is None:
        raise ValueError(
            "WordNet is not installed; install NLTK and run 'python -m nltk.downloader wordnet', "
            "or wn and run 'python -m wn download oewn:2024', or set TEST.AMBIGUITY to table"
        )
    senses = [_sense_of(words, lookup) for words in classes]
    above = [set() if sense is None else sense.above() for sense in senses]
    related = {}
    for a, sense in enumerate(senses):
        for b, other in enumerate(senses):
            if a == b or sense is None or other is None:
                continue
            if sense.key == other.key:
                related[a, b] = False
            elif other.key in above[a]:
                related[a, b] = True
    return related


def _sense_of(words: Sequence[str], lookup: Callable[[str], list[_Sense]]) -> _Sense | None:
    lowered = {word.lower() for word in words}
    senses: list[_Sense] = next(filter(None, map(lookup, words)), [])
    return max(senses, key=lambda sense: len(sense.words & lowered), default=None)


def _open_wn() -> Callable[[str], list[_Sense]] | None:
    """Look nouns up in `wn`; None without it or without an English lexicon."""
    try:
        import wn
    except ImportError:
        return None
    if not wn.lexicons(lang="en"):
        return None

    def above(synset: Any) -> set[str]:
        return {found.id for found in synset.closure("hypernym", "instance_hypernym")}

    def lookup(word: str) -> list[_Sense]:
        return [
            _Sense(s.id, frozenset(map(str.lower, s.lemmas())), partial(above, s))
            for s in wn.synsets(word, pos="n", lang="en")
        ]

    return lookup


def _open_nltk() -> Callable[[str], list[_Sense]] | None:
    """Look nouns up in NLTK's WordNet; None without NLTK or its data."""
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None

    def above(synset: Any) -> set[str]:
        closure = synset.closure(lambda s: s.hypernyms() + s.instance_hypernyms())
        return {found.name() for found in closure}

    def lookup(word: str) -> list[_Sense]:
        return [
            _Sense(
                s.name(),
                frozenset(name.lower().replace("_", " ") for name in s.lemma_names()),
                partial(above, s),
            )
            for s in wordnet.synsets(word.replace(" ", "_"), pos="n")
        ]

    return lookup
