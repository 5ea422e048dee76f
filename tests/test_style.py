"""Docstrings and comments keep to docs/style.md: no banned phrases."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BANNED = re.compile(
    r"\b(likewise|of\s+the\s+moment|what\s+answers|whoever|as\s+it\s+came|nobody|everybody"
    r"|somebody|whatever|pictures?)\b",
    re.IGNORECASE,
)
# Quoted code and text, and "picture" in commands, config values and file names.
ALLOWED = re.compile(
    r"`[^`\n]*`|\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)"
    r"|\bPICTURE\b|\bpicture\.png\b|\bmappers? (\w+, )*pictures\b|TRAIN_MAPPER pictures\b"
)


def rooms() -> list[str]:
    """Folders of Python files, relative to the root."""
    files = [*ROOT.glob("ovseg_d2/**/*.py"), *ROOT.glob("tools/**/*.py")]
    return sorted({str(file.parent.relative_to(ROOT)) for file in files})


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield first line and text of every docstring and comment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.lineno, str(first.value.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def banned_phrases(source: str) -> list[tuple[int, str]]:
    """Find banned phrases outside `ALLOWED`: (line, phrase) in order."""
    return sorted(
        (line + text.count("\n", 0, match.start()), match[0])
        for line, text in prose(source)
        for match in BANNED.finditer(ALLOWED.sub("", text))
    )


@pytest.mark.parametrize(
    ("source", "phrases"),
    [
        ('"""First.\n\nArgs:\n    b: likewise.\n"""\n', [(4, "likewise")]),
        ("x = 1  # the weights of the moment\n", [(1, "of the moment")]),
        ('def f():\n    """Give what\n    answers."""\n', [(2, "what\n    answers")]),
        ("# Whoever reads the image's labels.\n", [(1, "Whoever")]),
        ('"""A picture\'s size and an image\'s."""\n', [(1, "picture")]),
        ("# Read by the mappers semantic, pictures and masks.\n", []),
        ("# Captions such as 'a picture of a cat' or `picture`; make demo PICTURE=a.png\n", []),
        ("picture = 'likewise'\n", []),
    ],
)
def test_banned_phrases(source: str, phrases: list[tuple[int, str]]) -> None:
    assert banned_phrases(source) == phrases


@pytest.mark.parametrize("room", rooms())
def test_prose_has_no_banned_phrase(room: str) -> None:
    phrases = [
        f"{file.relative_to(ROOT)}:{line}: {phrase!r}"
        for file in sorted((ROOT / room).glob("*.py"))
        for line, phrase in banned_phrases(file.read_text(encoding="utf-8"))
    ]
    assert not phrases, "see docs/style.md: " + ", ".join(phrases)
