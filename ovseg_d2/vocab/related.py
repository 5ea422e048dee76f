"""Classes of a vocabulary that the same pixels may be called: synonyms, and kinds of others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

from ovseg_d2.vocab.lines import content_lines, fold_word
from ovseg_d2.vocab.vocabulary import Vocabulary
from ovseg_d2.vocab.wordnet import relate_by_wordnet

__all__ = ["MORE_GENERAL", "MORE_SPECIFIC", "SYNONYM", "related_classes"]

SYNONYM, MORE_SPECIFIC, MORE_GENERAL = "synonym", "more specific", "more general"

_FILE = "related_classes.txt"


def related_classes(vocabulary: Vocabulary, source: str = "table") -> dict[tuple[int, int], str]:
    """Return the pairs of classes that a pixel may be called by either name.

    Classes with a word in common are synonyms, unless the package's table tells them apart.
    Further pairs are of a source: the table, which is made for the benchmarks' lists and holds for
    every vocabulary with their names, or WordNet.

    Args:
        vocabulary: K classes.
        source: "table" or "wordnet".

    Returns:
        (a, b) -> what a is to b: `SYNONYM`, `MORE_SPECIFIC` (a skyscraper to a building) or
        `MORE_GENERAL`. Every pair is there in both orders, and no class with itself.

    Raises:
        ValueError: another source, or WordNet is not installed.
    """
    if source not in ("table", "wordnet"):
        raise ValueError(f"source is {source!r}; choose 'table' or 'wordnet'")
    table, apart = _read_table()
    ids = {fold_word(name): number for number, name in enumerate(vocabulary.names)}
    pairs = {
        (ids[a], ids[b]): SYNONYM for a, b in _with_common_word(vocabulary) if (a, b) not in apart
    }
    if source == "table":
        named = {(ids[a], ids[b]): kind for (a, b), kind in table.items() if {a, b} <= ids.keys()}
    else:
        named = {
            pair: MORE_SPECIFIC if specific else SYNONYM
            for pair, specific in relate_by_wordnet(vocabulary.synonyms).items()
        }
    turned = {SYNONYM: SYNONYM, MORE_SPECIFIC: MORE_GENERAL}
    return pairs | {(b, a): turned[kind] for (a, b), kind in named.items()} | named


def _with_common_word(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Yield the folded names of two classes with a word in common, in both orders."""
    of_word: dict[str, list[str]] = {}
    for name, words in zip(vocabulary.names, vocabulary.synonyms, strict=True):
        for word in {fold_word(word) for word in words}:
            of_word.setdefault(word, []).append(fold_word(name))
    for names in of_word.values():
        yield from ((a, b) for a in names for b in names if a != b)


@cache
def _read_table() -> tuple[dict[tuple[str, str], str], frozenset[tuple[str, str]]]:
    """Read the table.

    Returns:
        Folded names (a, b) -> `SYNONYM` in both orders, or `MORE_SPECIFIC` if a is a kind of b;
        and the pairs, in both orders, that have no relation.
    """
    same: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    apart = set()
    text = (resources.files(__package__) / _FILE).read_text(encoding="utf-8")
    for number, line in content_lines(text):
        match = re.fullmatch(r"(.+?) (=|>|<>) (.+)", line)
        if match is None:
            raise ValueError(
                f"{_FILE}, line {number}: {line!r} is none of 'a = b', 'a > b', 'a <> b'"
            )
        first = fold_word(match[1])
        for other in map(fold_word, match[3].split(";")):
            if match[2] == "<>":
                apart |= {(first, other), (other, first)}
            elif match[2] == ">":
                kinds.setdefault(first, set()).add(other)
            else:
                same.setdefault(first, set()).add(other)
                same.setdefault(other, set()).add(first)
    pairs: dict[tuple[str, str], str] = {}
    for name in same.keys() | kinds.keys():
        synonyms = _reached({name}, same)
        specific: set[str] = set()
        below = synonyms
        while below := {kind for each in below for kind in kinds.get(each, ())} - specific:
            below = _reached(below, same)
            specific |= below
        pairs |= {(other, name): MORE_SPECIFIC for other in specific}
        pairs |= {(other, name): SYNONYM for other in synonyms if other != name}
    return pairs, frozenset(apart)


def _reached(names: set[str], edges: dict[str, set[str]]) -> set[str]:
    """All names that edges lead to from some names, themselves included."""
    reached, new = set(names), set(names)
    while new := {other for name in new for other in edges.get(name, ())} - reached:
        reached |= new
    return reached
