"""Paths of config files, and the error for a missing one."""

import os
from difflib import get_close_matches
from pathlib import Path

__all__ = ["find_config"]

# The checkout; an installed package has no configs beside it.
_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = "configs"


def find_config(config_file: str | Path) -> Path:
    """Return the path of a config file.

    A path that starts with ``configs/`` and is no file below the working folder is resolved in the
    project's checkout, so that the README's commands run in any folder.

    Args:
        config_file: absolute, or relative to the working folder.

    Raises:
        FileNotFoundError: the file does not exist; the message names similar ones.
    """
    path = Path(config_file)
    if os.path.isfile(path):  # unlike Path.is_file, False for names that are too long
        return path
    if path.parts[:1] == (_FOLDER,) and os.path.isfile(_PROJECT / path):
        return _PROJECT / path
    similar = get_close_matches(str(path), _names_near(path), n=3, cutoff=0.75)
    hint = f"; similar names are {', '.join(similar)}" if similar else ""
    raise FileNotFoundError(
        f"config file {str(config_file)!r} does not exist; the project's are in {_where()}{hint}"
    )


def _where() -> str:
    folder = _PROJECT / _FOLDER
    return str(folder) if folder.is_dir() else f"{_FOLDER}/ of its repository"


def _names_near(path: Path) -> list[str]:
    """Names of the YAML files in the path's folder, and of the project's."""
    try:
        beside = [str(file) for file in sorted(path.parent.glob("*.yaml"))]
    except (OSError, ValueError):
        beside = []
    project = (_PROJECT / _FOLDER).rglob("*.yaml")
    return [*beside, *sorted(str(file.relative_to(_PROJECT)) for file in project)]
