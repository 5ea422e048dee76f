"""Faults of merging files and single keys into a config, as one sentence."""

import re

import yaml

from .defaults import KEYS

__all__ = ["BAD_CONFIG", "reason"]

# Errors of reading and merging a wrong file or option, in detectron2 and in the stand-in.
BAD_CONFIG = (
    KeyError,
    AttributeError,
    TypeError,
    ValueError,
    AssertionError,
    RecursionError,
    OSError,
    yaml.YAMLError,
)


_MISMATCH = re.compile(
    r"Type mismatch \(<class '(?:.*\.)?(\w+)'> vs\. <class '(?:.*\.)?(\w+)'>\)"
    r" with values \(.* vs\. (.*)\) for config key: (\S+)",
    re.DOTALL,
)
_EXAMPLES = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number with a point, such as 1.0",
    "str": "text; quote what looks like a number",
    "list": "a list, such as ['red star', 'grass']",
    "tuple": "a list, such as ('ovseg_shapes_val',)",
    "CfgNode": "keys of its own, and no value",
}


def reason(error: Exception) -> str:
    """Return the fault and its remedy as one sentence."""
    if isinstance(error, RecursionError):
        return "its _BASE_ leads back to the file itself, or a value is nested without end"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}; correct its _BASE_ or the file's permissions"
    if isinstance(error, TypeError | AttributeError):
        return "keys and values are not where they should be; compare it with configs/"
    text = str(error.args[0] if len(error.args) == 1 else error)
    mismatch = _MISMATCH.search(text)
    if mismatch:
        expected, actual, value, key = mismatch.groups()
        value = repr(value) if actual == "str" else value
        value = f"{value[:100]} ..." if len(value) > 100 else value
        about = f" ({KEYS[key].help})" if key in KEYS else ""
        kind = _EXAMPLES.get(expected, expected)
        text = f"{key} is {value}, of type {actual}; it takes {kind}{about}"
    elif "on-existent" in text:
        text += "; ovseg_d2/config lists the plugin's keys, detectron2's defaults the others"
    return " ".join(text.split())
