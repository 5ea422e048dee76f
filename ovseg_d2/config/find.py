"""Where a config file is, and what to say where it is not."""

import os
from difflib import get_close_matches
from pathlib import Path

__all__ = ["find_config"]

# Of a checkout; an installed package has no configs beside it.
_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = "configs"


def find_config(config_file: str | Path) -> Path:
    """The path of a config file.

    A path that starts with ``configs/`` and does not lead to a file from the working folder is
    looked for in the project's checkout, so that the commands of the README run in any folder.

    Args:
        config_file: absolute, or relative to the working folder.

    Raises:
        FileNotFoundError: there is no such file; the sentence names similar ones.
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
        beside = [str(found) for found in sorted(path.parent.glob("*.yaml"))]
    except (OSError, ValueError):
        beside = []
    project = (_PROJECT / _FOLDER).rglob("*.yaml")
    return [*beside, *sorted(str(found.relative_to(_PROJECT)) for found in project)]
