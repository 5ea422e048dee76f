"""Words -> embeddings: prompt templates, learnable prompts, and the bank of encoded words."""

from ovseg_d2.text.bank import TextBank
from ovseg_d2.text.class_prompts import ClassPrompts, ClusterVectors
from ovseg_d2.text.class_texts import ClassTexts
from ovseg_d2.text.templates import TEMPLATE_SETS, get_templates
from ovseg_d2.text.word_templates import read_word_templates, write_word_templates

__all__ = [
    "TEMPLATE_SETS",
    "ClassPrompts",
    "ClassTexts",
    "ClusterVectors",
    "TextBank",
    "get_templates",
    "read_word_templates",
    "write_word_templates",
]
