"""The config of a run: defaults, a file, single keys; and errors of one sentence for faults."""

from collections.abc import Sequence
from pathlib import Path

from ..d2.config import CfgNode, get_cfg
from .defaults import KEYS, add_ovseg_config
from .devices import resolve_device
from .find import find_config
from .keys import wrong_value
from .merging import BAD_CONFIG, reason
from .per_dataset import check_overrides, drop_overrides, is_override, merge_override
from .rules import check_together

__all__ = ["check_config", "load_config"]


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
        except BAD_CONFIG as error:
            raise ValueError(f"config file {str(config_file)!r}: {reason(error)}") from error
    _merge_options(cfg, opts)
    wrong = wrong_value(cfg, KEYS)
    if wrong is not None:
        key, sentence = wrong
        from_file = config_file is not None and key not in opts[::2]
        raise ValueError(f"config file {str(config_file)!r}: {sentence}" if from_file else sentence)
    check_together(cfg)
    check_overrides(cfg)
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
    check_overrides(cfg)


def _merge_options(cfg: CfgNode, opts: Sequence[str]) -> None:
    if len(opts) % 2:
        raise ValueError(
            f"the options {list(opts)!r} are {len(opts)} words; give keys and values in turn, "
            "for instance SOLVER.MAX_ITER 100"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        try:
            if is_override(key):
                merge_override(cfg, key, value)
            else:
                cfg.merge_from_list([key, value])
                drop_overrides(cfg, key)
        except BAD_CONFIG as error:
            raise ValueError(f"option {key} {value}: {reason(error)}") from error
