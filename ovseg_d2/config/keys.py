"""Declaration of keys, their addition to a config, and their check.

A key is one line in a table of this package::

    "MODEL.TEXT.BATCH_SIZE": Key(256, whole(1), "prompts encoded at once"),

with its default, its values and its help, from which the config, its check and the error for a
wrong value are built. ``tests/test_config_values.py`` tries wrong values for every key.
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
"""The default of a key that is detectron2's, and keeps detectron2's default."""


@dataclass(frozen=True)
class Key:
    """A config key.

    Attributes:
        default: the default value, or :data:`THEIRS`.
        takes: the allowed values.
        help: meaning, unit and special values; a phrase without a full stop.
    """

    default: Any
    takes: Values
    help: str


def below(section: str, keys: Mapping[str, Key]) -> dict[str, Key]:
    """Return keys by their full names.

    Args:
        section: of the keys, such as ``MODEL.CLIP``.
        keys: by name below the section; names may have dots.
    """
    return {f"{section}.{name}": key for name, key in keys.items()}


def add_keys(cfg: CfgNode, keys: Mapping[str, Key]) -> None:
    """Add keys, by their full names, with their defaults and sections to a config, in place."""
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
    """Return the value of a key by its full name."""
    node = cfg
    for part in full_name.split("."):
        node = node[part]
    return node


def wrong_value(cfg: CfgNode, keys: Mapping[str, Key]) -> tuple[str, str] | None:
    """Return the first key with a wrong value.

    Args:
        cfg: the whole config; it has all the keys.
        keys: by their full names.

    Returns:
        The key's full name, and an error message with value, allowed values and help; None if all
        values are right.
    """
    for full_name, key in keys.items():
        value = value_of(cfg, full_name)
        if not key.takes.fits(value):
            shown = _SHORT.repr(value)
            return full_name, f"{full_name} is {shown}; it takes {key.takes.phrase} ({key.help})"
    return None


class _OneLine(reprlib.Repr):
    """Shortened values, without line breaks."""

    def repr1(self, x: Any, level: int) -> str:
        return " ".join(super().repr1(x, level).split())


_SHORT = _OneLine()
_SHORT.maxstring = _SHORT.maxother = 100
