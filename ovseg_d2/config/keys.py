"""How keys are declared, put into a config and checked.

A key is added by one line in a table of this room::

    "MODEL.TEXT.BATCH_SIZE": Key(256, whole(1), "prompts encoded at once"),

with its default, the values that it takes and its help; the config, its check and the sentence for
a wrong value are made from it. ``tests/test_config_values.py`` tries wrong values for every key.
"""

import copy
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..d2.config import CfgNode
from .values import Values

__all__ = ["THEIRS", "Key", "add_keys", "below", "value_of", "wrong_value"]


class _Theirs:
    """Type of :data:`THEIRS`."""

    def __repr__(self) -> str:
        return "THEIRS"


THEIRS = _Theirs()
"""In place of a default: the key and its default are detectron2's."""


@dataclass(frozen=True)
class Key:
    """A config key.

    Attributes:
        default: its value where nothing sets it, or :data:`THEIRS`.
        takes: the values that it may have.
        help: what it does, its unit and what its special values mean; a phrase without a full stop.
    """

    default: Any
    takes: Values
    help: str


def below(section: str, keys: Mapping[str, Key]) -> dict[str, Key]:
    """Keys by their full names.

    Args:
        section: what the keys lie in, such as ``MODEL.CLIP``.
        keys: by their names below it; a name may have dots.
    """
    return {f"{section}.{name}": key for name, key in keys.items()}


def add_keys(cfg: CfgNode, keys: Mapping[str, Key]) -> None:
    """Give a config the keys with their defaults, in place; sections are made where needed.

    Args:
        cfg: the whole config.
        keys: by their full names.
    """
    for full_name, key in keys.items():
        *sections, name = full_name.split(".")
        node = cfg
        for section in sections:
            if section not in node:
                node[section] = CfgNode()
            node = node[section]
        if key.default is not THEIRS:
            node[name] = copy.deepcopy(key.default)


def value_of(cfg: CfgNode, full_name: str) -> Any:
    """The value of a key by its full name."""
    node = cfg
    for part in full_name.split("."):
        node = node[part]
    return node


def wrong_value(cfg: CfgNode, keys: Mapping[str, Key]) -> tuple[str, str] | None:
    """The first key whose value it does not take.

    Args:
        cfg: the whole config; it has all the keys.
        keys: by their full names.

    Returns:
        The key's full name, and a sentence with value, kind and help; None where all values fit.
    """
    for full_name, key in keys.items():
        value = value_of(cfg, full_name)
        if not key.takes.fits(value):
            shown = _SHORT.repr(value)
            return full_name, f"{full_name} is {shown}; it takes {key.takes.words} ({key.help})"
    return None


class _OneLine(reprlib.Repr):
    """Short forms of values, without line breaks."""

    def repr1(self, x: Any, level: int) -> str:
        return " ".join(super().repr1(x, level).split())


_SHORT = _OneLine()
_SHORT.maxstring = _SHORT.maxother = 100
