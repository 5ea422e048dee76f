"""Parts of speech of captions, from pretrained taggers.

HanTa is the default: its package contains an English model. spaCy and NLTK are optional.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, resources
from typing import Any, Literal, Protocol

__all__ = [
    "TAGGERS",
    "HanTaTagger",
    "NltkTagger",
    "SpacyTagger",
    "TaggedWord",
    "Tagger",
    "build_tagger",
]

WordKind = Literal["noun", "adjective", "other"]

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
_HANTA_MODEL = "morphmodel_en.pgz"
# First letters of the tags of the British National Corpus (C5) and of the Penn Treebank; universal
# tags, as spaCy gives.
_C5: dict[str, WordKind] = {"NN": "noun", "NP": "noun", "AJ": "adjective"}
_PENN: dict[str, WordKind] = {"NN": "noun", "JJ": "adjective"}
_UNIVERSAL: dict[str, WordKind] = {"NOUN": "noun", "PROPN": "noun", "ADJ": "adjective"}


@dataclass(frozen=True)
class TaggedWord:
    """A word of a caption, or a punctuation mark.

    Attributes:
        text: as in the caption.
        kind: its part of speech; proper names are nouns.
    """

    text: str
    kind: WordKind


class Tagger(Protocol):
    """A function from a caption to its tagged words."""

    def __call__(self, caption: str) -> list[TaggedWord]:
        """Return the words of a caption in order, punctuation included; [] if it is empty."""
        ...


class HanTaTagger:
    """The Hanover Tagger with the English model of its package.

    Source: Wartena, *The Hanover Tagger (Version 1.1.0)*, 2023.
    """

    def __init__(self) -> None:
        """Load the model, which is a pickle.

        It is given by its full path: HanTa looks for bare names in the working folder first.
        """
        from HanTa.HanoverTagger import HanoverTagger

        self._tagger = HanoverTagger(str(resources.files("HanTa") / _HANTA_MODEL))

    def __call__(self, caption: str) -> list[TaggedWord]:
        """See `Tagger`."""
        words = _TOKEN.findall(caption)
        tagged = self._tagger.tag_sent(words) if words else []
        return [TaggedWord(text, _C5.get(tag[:2], "other")) for text, _, tag in tagged]


class SpacyTagger:
    """A pipeline of spaCy, which also splits captions into words."""

    def __init__(self, model: str = "en_core_web_sm") -> None:
        """Load the pipeline.

        Args:
            model: an installed package of spaCy, or a folder.

        Raises:
            ValueError: spaCy or the model is not installed, or the model has no tagger.
        """
        try:
            spacy = import_module("spacy")
        except ImportError as error:
            raise _missing("spacy", "spaCy", "pip install spacy", error) from error
        try:
            self._nlp = spacy.load(model, exclude=["ner"])
        except OSError as error:
            command = f"python -m spacy download {model}"
            raise _missing("spacy", f"the model {model!r} of spaCy", command, error) from error
        if not {"tagger", "morphologizer"} & set(self._nlp.pipe_names):
            raise ValueError(
                f"tagger 'spacy': the model {model!r} tags no words (it has "
                f"{self._nlp.pipe_names}); choose another model, such as en_core_web_sm"
            )

    def __call__(self, caption: str) -> list[TaggedWord]:
        """See `Tagger`."""
        words = (word for word in self._nlp(caption) if not word.is_space)
        return [TaggedWord(word.text, _UNIVERSAL.get(word.pos_, "other")) for word in words]


class NltkTagger:
    """NLTK's averaged perceptron; the paper of [ovseg] uses NLTK."""

    def __init__(self) -> None:
        """Find NLTK and its model.

        Raises:
            ValueError: one of them is not installed.
        """
        try:
            self._nltk = import_module("nltk")
        except ImportError as error:
            raise _missing("nltk", "NLTK", "pip install nltk", error) from error
        try:
            self._nltk.pos_tag(["word"])
        except LookupError as error:
            command = "python -m nltk.downloader averaged_perceptron_tagger_eng"
            raise _missing("nltk", "the model of NLTK's tagger", command, error) from error

    def __call__(self, caption: str) -> list[TaggedWord]:
        """See `Tagger`."""
        tagged = self._nltk.pos_tag(_TOKEN.findall(caption))
        return [TaggedWord(text, _PENN.get(tag[:2], "other")) for text, tag in tagged]


TAGGERS: dict[str, Callable[..., Tagger]] = {
    "hanta": HanTaTagger,
    "spacy": SpacyTagger,
    "nltk": NltkTagger,
}


def build_tagger(name: str, **options: Any) -> Tagger:
    """Build a tagger.

    Args:
        name: a key of `TAGGERS`.
        **options: ``model`` of "spacy".

    Raises:
        ValueError: an unknown tagger or option, or a missing package or model.
    """
    if name not in TAGGERS:
        raise ValueError(f"tagger {name!r} is unknown; choose one of {', '.join(TAGGERS)}")
    known = inspect.signature(TAGGERS[name]).parameters
    for option in options:
        if option not in known:
            raise ValueError(
                f"tagger {name!r} has no option {option!r}; it has: {', '.join(known) or 'none'}"
            )
    return TAGGERS[name](**options)


def _missing(name: str, what: str, command: str, error: Exception) -> ValueError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        f"tagger {name!r}: {what} is not installed ({reason}); "
        f"run `{command}`, or choose the tagger 'hanta', which needs no installation"
    )
