"""Modules of the user's own, which register datasets and the like: ``--import MODULE``."""

import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["import_modules"]


def import_modules(names: Sequence[str]) -> None:
    """Import what a user names, in the folder at hand or wherever Python looks.

    Each process of a job calls it, for a process inherits no registered dataset.

    Args:
        names: of modules, with dots for those of packages. What is imported already stays.

    Raises:
        ValueError: a name that is none, or of no module there. Errors of the module itself are
            raised as they are.
    """
    folder = os.getcwd()
    if names and folder not in sys.path:
        sys.path.append(folder)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            raise ValueError(
                f"--import {name} is no name of a module; for my_datasets.py in the folder at hand "
                "write --import my_datasets"
            )
        try:
            found = pkgutil.resolve_name(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # of an import in the module
            found = None
        except AttributeError:
            found = None
        if not isinstance(found, ModuleType):
            raise ValueError(
                f"--import {name}: there is no such module in {folder} or on PYTHONPATH; correct "
                "the name, or add its folder to PYTHONPATH"
            )
