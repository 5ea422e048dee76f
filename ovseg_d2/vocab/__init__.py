"""Vocabularies: class names, their synonyms, background classes and class sets."""

from ovseg_d2.vocab.benchmarks import *
from ovseg_d2.vocab.label_codes import *
from ovseg_d2.vocab.metadata import *
from ovseg_d2.vocab.read import *
from ovseg_d2.vocab.related import *
from ovseg_d2.vocab.selection import *
from ovseg_d2.vocab.thresholds import *
from ovseg_d2.vocab.vocabulary import *
