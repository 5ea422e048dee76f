"""The words a segmentation is asked for: class names, their synonyms, background and class sets."""

from ovseg_d2.vocab.benchmarks import list_vocabularies, load_vocabulary
from ovseg_d2.vocab.metadata import metadata_vocabulary, read_class_names
from ovseg_d2.vocab.read import WORDS_HELP, Words, read_word_list, read_words
from ovseg_d2.vocab.selection import find_classes
from ovseg_d2.vocab.vocabulary import ClassSets, Vocabulary

__all__ = [
    "WORDS_HELP",
    "ClassSets",
    "Vocabulary",
    "Words",
    "find_classes",
    "list_vocabularies",
    "load_vocabulary",
    "metadata_vocabulary",
    "read_class_names",
    "read_word_list",
    "read_words",
]
