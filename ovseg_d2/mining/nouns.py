"""Nouns and noun phrases of tagged captions."""

from collections.abc import Iterable, Sequence

from .taggers import TaggedWord

__all__ = ["find_nouns"]

# Nouns for the image as a whole; a phrase is left out if its last word is one of them.
_IMAGE_WORDS = frozenset("photo photograph picture image scene view background foreground".split())
# Longer phrases are typing errors or lists without commas, and fill CLIP's context.
_MAX_WORDS = 5
_MAX_CHARACTERS = 60


def find_nouns(words: Sequence[TaggedWord], *, phrases: bool = True) -> list[str]:
    """Find the nouns or noun phrases of a caption.

    Paper: [ovseg] Sec. 3.2: all nouns of the captions become classes.
    Departs: with ``phrases`` a noun keeps its adjectives and the nouns before it ("red star",
    "fire hydrant"), unlike in the paper.

    Args:
        words: a caption, from a `Tagger`.
        phrases: False takes single nouns.

    Returns:
        Unique nouns or phrases in lower case, in the caption's order, without words for the image
        as a whole ("photo").
    """
    nouns: dict[str, None] = {}
    for part in _phrases(words) if phrases else ([w] for w in words if w.kind == "noun"):
        texts = [word.text.lower() for word in part]
        phrase = " ".join(texts)
        fits = len(texts) <= _MAX_WORDS and 2 <= len(phrase) <= _MAX_CHARACTERS
        # Not surrogates or control characters.
        is_word = phrase.isprintable() and any(map(str.isalpha, texts[-1]))
        if fits and is_word and texts[-1] not in _IMAGE_WORDS:
            nouns[phrase] = None
    return list(nouns)


def _phrases(words: Sequence[TaggedWord]) -> Iterable[list[TaggedWord]]:
    """Runs of adjectives, if any, followed by nouns."""
    open_phrase: list[TaggedWord] = []
    for word in [*words, TaggedWord("", "other")]:
        has_noun = bool(open_phrase) and open_phrase[-1].kind == "noun"
        if word.kind == "noun" or (word.kind == "adjective" and not has_noun):
            open_phrase.append(word)
            continue
        if has_noun:
            yield open_phrase
        open_phrase = [word] if word.kind == "adjective" else []
