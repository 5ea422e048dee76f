"""``--import MODULE``: modules of the user, which register datasets and more."""

import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["import_modules"]


def import_modules(names: Sequence[str]) -> None:
    """Import modules from the current folder or Python's search path.

    Each process of a job calls it, because registered datasets are not inherited.

    Args:
        names: of modules, with dots for those in packages; imported ones are not imported again.

    Raises:
        ValueError: a name that is not a module's, or a module that does not exist. Errors in the
            module itself are raised unchanged.
    """
    folder = os.getcwd()
    if names and folder not in sys.path:
        sys.path.append(folder)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
            raise ValueError(
                f"--import {name} is not the name of a module; for my_datasets.py in the current "
                "folder write --import my_datasets"
            )
        try:
            module = pkgutil.resolve_name(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # an import inside the module failed
            module = None
        except AttributeError:
            module = None
        if not isinstance(module, ModuleType):
            raise ValueError(
                f"--import {name}: there is no such module in {folder} or on PYTHONPATH; correct "
                "the name, or add its folder to PYTHONPATH"
            )
