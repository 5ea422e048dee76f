"""``TEST.DATASETS``: keys that have another value for a single test dataset.

In a file they are nested as in a config, below the name of the dataset::

    TEST:
      DATASETS:
        ovseg_voc20_val:
          MODEL:
            OVSEG:
              LAMBDA: 0.45

and on a command line ``TEST.DATASETS.ovseg_voc20_val.MODEL.OVSEG.LAMBDA 0.45``. They count before
the keys outside of ``TEST.DATASETS``, and only for evaluations of that dataset. On a command line,
though, the later one of a key and the same key of a dataset counts.
"""

from collections.abc import Iterator

from ..d2.config import CfgNode
from .defaults import KEYS
from .keys import value_of, wrong_value
from .merging import BAD_CONFIG, reason
from .rules import check_together

__all__ = ["check_overrides", "dataset_config", "drop_overrides", "is_override", "merge_override"]

_PREFIX = "TEST.DATASETS."
# Keys of inference and evaluation, and beginnings of such: the same weights serve all values.
_ALLOWED = (
    "INPUT.CORRUPTION.",
    "INPUT.MAX_SIZE_TEST",
    "INPUT.MIN_SIZE_TEST",
    "INPUT.RESIZE_TEST",
    "MODEL.CLIP.LAST_BLOCK.",
    "MODEL.MAP_CORRECTION.",
    "MODEL.MASKCLIP.",
    "MODEL.OVSEG.CROP.",
    "MODEL.OVSEG.DEMO",
    "MODEL.OVSEG.LAMBDA",
    "MODEL.OVSEG.OFFICIAL",
    "MODEL.OVSEG.UNSEEN_LAMBDA",
    "MODEL.TEXT.",
    "TEST.",
)
# Of the run, not of a dataset.
_REFUSED = ("TEST.DATASETS", "TEST.EVAL_PERIOD", "TEST.EXPECTED_RESULTS", "TEST.PRECISE_BN.")


def dataset_config(cfg: CfgNode, dataset_name: str) -> CfgNode:
    """Return the config that a test dataset is evaluated with.

    Args:
        cfg: the whole config, frozen or not; it is not changed.
        dataset_name: of a test dataset.

    Returns:
        ``cfg`` itself if ``TEST.DATASETS`` has nothing of the dataset, else a copy with its keys,
        and with ``TEST.DATASETS`` empty.

    Raises:
        ValueError: an unknown key, or a value of another type.
    """
    overrides = cfg.TEST.DATASETS.get(dataset_name)
    if not overrides:
        return cfg
    merged = cfg.clone()
    merged.defrost()
    merged.TEST.DATASETS = CfgNode()
    try:
        merged.merge_from_other_cfg(overrides)
    except BAD_CONFIG as error:
        raise ValueError(f"{_PREFIX}{dataset_name}: {reason(error)}") from error
    if cfg.is_frozen():
        merged.freeze()
    return merged


def check_overrides(cfg: CfgNode) -> None:
    """Refuse keys of ``TEST.DATASETS`` that are unknown or not of a dataset, and wrong values.

    Args:
        cfg: the whole config; its other values are right.

    Raises:
        ValueError: the first fault.
    """
    for name, overrides in cfg.TEST.DATASETS.items():
        merged = dataset_config(cfg, name)
        for key in _leaves(overrides):
            if not key.startswith(_ALLOWED) or key.startswith(_REFUSED):
                raise ValueError(
                    f"{_PREFIX}{name}: {key} is one for all datasets; set it outside of "
                    f"TEST.DATASETS, which takes {', '.join(key.rstrip('.') for key in _ALLOWED)}"
                )
        wrong = wrong_value(merged, KEYS)
        if wrong is not None:
            raise ValueError(f"{_PREFIX}{name}: {wrong[1]}")
        try:
            check_together(merged)
        except ValueError as error:
            raise ValueError(f"{_PREFIX}{name}: {error}") from error


def is_override(key: str) -> bool:
    """Whether a full name is one of a key below ``TEST.DATASETS``."""
    return key.startswith(_PREFIX)


def merge_override(cfg: CfgNode, key: str, value: str) -> None:
    """Set a key of a command line below ``TEST.DATASETS``, in place.

    Args:
        cfg: the whole config.
        key: its full name.
        value: as a command line has it.

    Raises:
        ValueError: no key behind the dataset's name, or a value of another type.
        KeyError: an unknown key.
    """
    name, _, inner = key.removeprefix(_PREFIX).partition(".")
    if not name or not inner:
        raise ValueError(
            "it names no key; put one behind the dataset, as in "
            f"{_PREFIX}{name or 'ovseg_voc20_val'}.MODEL.OVSEG.LAMBDA 0.45"
        )
    merged = cfg.clone()
    merged.merge_from_other_cfg(cfg.TEST.DATASETS.get(name, CfgNode()))
    merged.merge_from_list([inner, value])
    *sections, last = inner.split(".")
    node = cfg.TEST.DATASETS
    for section in (name, *sections):
        node = node.setdefault(section, CfgNode())
    node[last] = value_of(merged, inner)


def drop_overrides(cfg: CfgNode, key: str) -> None:
    """Remove a key from ``TEST.DATASETS``, in place, so that its value outside counts for all.

    Args:
        cfg: the config, whose ``TEST.DATASETS`` may not have been checked.
        key: full name.
    """
    *sections, last = key.split(".")
    for node in cfg.TEST.DATASETS.values():
        for section in sections:
            node = node.get(section) if isinstance(node, CfgNode) else None
        if isinstance(node, CfgNode):
            node.pop(last, None)


def _leaves(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name
