"""Files of templates of single words, made by `tools/choose_templates.py`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from ovseg_d2.files import expand_user, write_atomically
from ovseg_d2.json_files import describe_problem, read_json
from ovseg_d2.text.templates import get_templates

__all__ = ["read_word_templates", "write_word_templates"]

_MAX_FILE = 2**24  # bytes
_KEY = "word_templates"


def write_word_templates(
    path: str | os.PathLike[str], templates: Mapping[str, Sequence[str]], note: str
) -> None:
    """Write templates of words, with a note on their origin.

    Args:
        path: the file.
        templates: word -> its templates.
        note: the CLIP, images and options that chose them.

    Raises:
        WriteError: the file cannot be written.
    """
    content = {"note": note, _KEY: {word: list(own) for word, own in templates.items()}}
    with write_atomically(path, "w") as file:
        json.dump(content, file, indent=1)


def read_word_templates(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Read a file of `write_word_templates`: word -> its templates.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a file of another content, or a template without exactly one ``{}``.
    """
    path = expand_user(path)
    try:
        content = read_json(path, max_bytes=_MAX_FILE)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the templates of words {path} do not exist; check the path"
        ) from error
    except OSError as error:
        raise OSError(f"{path} cannot be read: {describe_problem(error)}") from error
    except ValueError as error:
        raise ValueError(f"{path} holds no templates of words: {error}") from error
    listed = content.get(_KEY) if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not all(
        isinstance(own, list) and own and all(isinstance(item, str) for item in own)
        for own in listed.values()
    ):
        raise ValueError(
            f"{path} holds no templates of words; make such a file with tools/choose_templates.py"
        )
    return {word: get_templates(own) for word, own in listed.items()}
