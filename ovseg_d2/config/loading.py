"""The config of a run: defaults, a file, single keys; and sentences for what is wrong in them."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..d2.config import CfgNode, get_cfg
from .defaults import add_ovseg_config, resolve_device

__all__ = ["load_config"]

# What reading and merging a file or an option raises when they are wrong, on either tier.
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
    """Build the config of a run: defaults, a file, then single keys.

    Args:
        config_file: YAML file, possibly with ``_BASE_``; None stays with the defaults, which are
            MaskCLIP on ShapesCLIP.
        opts: keys and values in turn, as on a command line: ``["SOLVER.MAX_ITER", "20"]``.

    Files are read without the YAML tags that run code, which detectron2 itself would follow.

    Returns:
        The config, not frozen, its device resolved.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a file that cannot be read, an unknown key, a value of the wrong type, no
            device, or keys without values.
    """
    cfg = get_cfg()
    add_ovseg_config(cfg)
    if config_file is not None:
        if not Path(config_file).is_file():
            raise FileNotFoundError(
                f"config file {str(config_file)!r} does not exist; the project's are in configs/"
            )
        try:
            cfg.merge_from_file(str(config_file), allow_unsafe=False)
        except _BAD_CONFIG as error:
            raise ValueError(f"config file {str(config_file)!r}: {_reason(error)}") from error
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
    cfg.MODEL.DEVICE = resolve_device(cfg.MODEL.DEVICE)
    return cfg


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
    """One sentence of what is wrong and what to do."""
    if isinstance(error, RecursionError):
        return "its _BASE_ leads back to the file itself; name another one"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}; correct its _BASE_ or the file's permissions"
    if isinstance(error, TypeError | AttributeError):
        return "keys and values are not where they should be; compare it with configs/"
    text = str(error.args[0] if len(error.args) == 1 else error)
    mismatch = _MISMATCH.search(text)
    if mismatch:
        expected, found, value, key = mismatch.groups()
        value = repr(value) if found == "str" else value
        return f"{key} is {value}, of type {found}; it takes {_EXAMPLES.get(expected, expected)}"
    if "on-existent" in text:
        text += "; ovseg_d2/config lists the plugin's keys, detectron2's defaults the others"
    return " ".join(text.split())
