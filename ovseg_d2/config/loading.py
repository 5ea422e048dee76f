"""The config of a run: defaults, a file, single keys; and errors of one sentence for faults."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..d2.config import CfgNode, get_cfg
from .defaults import KEYS, add_ovseg_config
from .devices import resolve_device
from .find import find_config
from .keys import wrong_value
from .rules import check_together

__all__ = ["check_config", "load_config"]

# Errors of reading and merging a wrong file or option, in detectron2 and in the stand-in.
_BAD_CONFIG = (
    KeyError,
    AttributeError,
    TypeError,
    ValueError,
    AssertionError,
    RecursionError,
    OSError,
    yaml.YAMLError,
)


def load_config(config_file: str | Path | None = None, opts: Sequence[str] = ()) -> CfgNode:
    """Build the config of a run from defaults, a file and single keys, and check all values.

    Files are read without the YAML tags that run code, which detectron2 itself would follow.

    Args:
        config_file: YAML file, possibly with ``_BASE_``; None keeps the defaults, MaskCLIP on
            ShapesCLIP. See :func:`~ovseg_d2.config.find.find_config`.
        opts: keys and values in turn, as on a command line: ``["SOLVER.MAX_ITER", "20"]``.

    Returns:
        The config, not frozen, its device resolved.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a file that cannot be read, an unknown key, a wrong value or device, or keys
            without values.
    """
    cfg = get_cfg()
    add_ovseg_config(cfg)
    if config_file is not None:
        path = find_config(config_file)
        try:
            cfg.merge_from_file(str(path), allow_unsafe=False)
        except _BAD_CONFIG as error:
            raise ValueError(f"config file {str(config_file)!r}: {_reason(error)}") from error
    _merge_options(cfg, opts)
    wrong = wrong_value(cfg, KEYS)
    if wrong is not None:
        key, sentence = wrong
        from_file = config_file is not None and key not in opts[::2]
        raise ValueError(f"config file {str(config_file)!r}: {sentence}" if from_file else sentence)
    check_together(cfg)
    cfg.MODEL.DEVICE = resolve_device(cfg.MODEL.DEVICE)
    return cfg


def check_config(cfg: CfgNode) -> None:
    """Refuse wrong values in a config that was changed after its loading.

    Args:
        cfg: the whole config.

    Raises:
        ValueError: a wrong value, or values that contradict each other.
    """
    wrong = wrong_value(cfg, KEYS)
    if wrong is not None:
        raise ValueError(wrong[1])
    check_together(cfg)


def _merge_options(cfg: CfgNode, opts: Sequence[str]) -> None:
    if len(opts) % 2:
        raise ValueError(
            f"the options {list(opts)!r} are {len(opts)} words; give keys and values in turn, "
            "for instance SOLVER.MAX_ITER 100"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        try:
            cfg.merge_from_list([key, value])
        except _BAD_CONFIG as error:
            raise ValueError(f"option {key} {value}: {_reason(error)}") from error


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


def _reason(error: Exception) -> str:
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
