"""Nouns and noun phrases of tagged captions."""

from collections.abc import Collection, Iterable, Sequence

from .taggers import TaggedWord

__all__ = ["PICTURE_WORDS", "find_nouns"]

# Nouns that speak of the picture, and of no part of it.
PICTURE_WORDS: frozenset[str] = frozenset(
    "photo photograph picture image scene view background foreground".split()
)
# Longer ones are lists without commas and slips of the keyboard, and fill CLIP's context.
_MAX_WORDS = 5
_MAX_CHARACTERS = 60


def find_nouns(
    words: Sequence[TaggedWord],
    *,
    phrases: bool = True,
    left_out: Collection[str] = PICTURE_WORDS,
) -> list[str]:
    """Find what a caption names.

    Paper: [ovseg] Sec. 3.2: all nouns of the captions become classes.
    Departs: with ``phrases`` a noun keeps its adjectives and the nouns before it ("red star",
    "fire hydrant"), which the paper's nouns lack.

    Args:
        words: a caption, from a `Tagger`.
        phrases: False takes each noun for itself.
        left_out: nouns that name nothing; a phrase counts by its last word.

    Returns:
        Nouns or phrases in small letters, in the caption's order, each once.
    """
    found: dict[str, None] = {}
    for part in _phrases(words) if phrases else ([w] for w in words if w.kind == "noun"):
        texts = [word.text.lower() for word in part]
        phrase = " ".join(texts)
        fits = len(texts) <= _MAX_WORDS and 2 <= len(phrase) <= _MAX_CHARACTERS
        # Halves of characters and control characters are no text.
        is_word = phrase.isprintable() and any(map(str.isalpha, texts[-1]))
        if fits and is_word and texts[-1] not in left_out:
            found[phrase] = None
    return list(found)


def _phrases(words: Sequence[TaggedWord]) -> Iterable[list[TaggedWord]]:
    """Adjectives, if there are any, and the nouns that follow them without a gap."""
    open_phrase: list[TaggedWord] = []
    for word in [*words, TaggedWord("", "other")]:
        has_noun = bool(open_phrase) and open_phrase[-1].kind == "noun"
        if word.kind == "noun" or (word.kind == "adjective" and not has_noun):
            open_phrase.append(word)
            continue
        if has_noun:
            yield open_phrase
        open_phrase = [word] if word.kind == "adjective" else []
