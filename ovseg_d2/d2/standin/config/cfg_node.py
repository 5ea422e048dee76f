"""A configuration tree with a version, read from YAML files with bases."""

import logging
from typing import IO, Any

from fvcore.common.config import CfgNode as _FvcoreCfgNode

from ..utils.file_io import PathManager
from .defaults import LATEST_VERSION, build_defaults

logger = logging.getLogger("detectron2.config.config")

# Keys that only version 1 had; a file with one of them and without VERSION has version 1.
_VERSION_1_KEYS = ("MODEL.WEIGHT", "TEST.AUG_ON")


class CfgNode(_FvcoreCfgNode):
    """fvcore's node, with a check of the file's version.

    Departs: detectron2 follows YAML tags that run code by default; here ``allow_unsafe`` is False
    by default.
    """

    @classmethod
    def _open_cfg(cls, filename: str) -> IO[Any]:
        return PathManager.open(filename, "r")

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = False) -> None:
        """Merge a YAML file, and first the files its ``_BASE_`` names, into this tree.

        Args:
            cfg_filename: path of the file; ``_BASE_`` in it is relative to the file, or absolute,
                or a list of which later ones win.
            allow_unsafe: whether YAML tags that construct Python objects are followed; they can run
                code.

        Raises:
            AssertionError: there is no such file, the tree is not of the latest version, or the
                file is of a later version than the tree.
            ValueError: the file is of an older version (detectron2 itself can upgrade it), or a
                value has another type than the default it replaces.
            KeyError: a key of the file is not in the tree.
        """
        assert PathManager.isfile(cfg_filename), f"Config file '{cfg_filename}' does not exist!"
        loaded = type(self)(self.load_yaml_with_base(cfg_filename, allow_unsafe=allow_unsafe))
        assert self.VERSION == LATEST_VERSION, (
            f"CfgNode.merge_from_file works on configs of the latest version, v{LATEST_VERSION}, "
            f"but this one is v{self.VERSION}."
        )
        version = loaded.get("VERSION")
        if version is None:
            version = _guess_version(loaded, cfg_filename)
        assert version <= self.VERSION, (
            f"Cannot merge a v{version} config into a v{self.VERSION} config."
        )
        if version < self.VERSION:
            raise ValueError(
                f"Config file '{cfg_filename}' is v{version}. Only detectron2 itself upgrades old "
                f"files: install it, or rewrite the file for v{self.VERSION}."
            )
        self.merge_from_other_cfg(loaded)


def _guess_version(loaded: CfgNode, cfg_filename: str) -> int:
    """Return the version of a file without VERSION: 1 if it has an old key, else the latest."""
    version = LATEST_VERSION
    for section, key in (name.split(".") for name in _VERSION_1_KEYS):
        if key in (loaded.get(section) or {}):
            version = 1
    logger.warning("Config '%s' has no VERSION. Assuming it to be v%d.", cfg_filename, version)
    return version


def get_cfg() -> CfgNode:
    """Return a new copy of the default configuration."""
    return CfgNode(build_defaults())
