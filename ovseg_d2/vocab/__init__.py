"""Vocabularies: class names, their synonyms, background classes and class sets."""

from ovseg_d2.vocab.benchmarks import list_vocabularies, load_vocabulary
from ovseg_d2.vocab.label_codes import IGNORED, LabelCodes, label_codes
from ovseg_d2.vocab.metadata import metadata_vocabulary, name_some, read_class_names, tell_apart
from ovseg_d2.vocab.read import Words, read_word_list, read_words
from ovseg_d2.vocab.selection import find_classes, find_unseen
from ovseg_d2.vocab.vocabulary import ClassSets, Vocabulary

__all__ = [
    "IGNORED",
    "ClassSets",
    "LabelCodes",
    "Vocabulary",
    "Words",
    "find_classes",
    "find_unseen",
    "label_codes",
    "list_vocabularies",
    "load_vocabulary",
    "metadata_vocabulary",
    "name_some",
    "read_class_names",
    "read_word_list",
    "read_words",
    "tell_apart",
]
