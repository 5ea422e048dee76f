"""Command-line tools: options, and their end on bad input or an interrupt."""

import argparse
import errno
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from torch.multiprocessing import ProcessExitedException

from .console import write_any_name

__all__ = ["parse_options", "refuse_misplaced_options", "sentence_for_bad_input"]

_PACKAGE = Path(__file__).resolve().parents[1]
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


# A DataLoader raises an error of a worker process with the same type, and the worker's traceback as
# its text.
_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n")
_FRAME = re.compile(r'^ +File "(.+)", line \d+, in ', re.MULTILINE)
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)


@contextmanager
def sentence_for_bad_input(go_on: str = "run the command again") -> Iterator[None]:
    """Turn errors that this package raises about its input into one sentence and exit code 1.

    A full disk ends with a sentence too. All other errors are bugs and keep their traceback. If a
    process of a job has printed its sentence, no second one follows. An interrupt (Ctrl-C) ends
    with one line and exit code 130. The console accepts any file name from then on.

    Args:
        go_on: the user's way to continue after an interrupt.
    """
    for stream in (sys.stdout, sys.stderr):
        write_any_name(stream)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; to go on, {go_on}\n")
        sys.exit(130)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _FULL_DISK and not _is_ours(error):
            where = f" while writing {error.filename}" if error.filename else ""
            sys.exit(
                f"error: the disk is full{where}: {error.strerror}; free some space and go on "
                "(training: with --resume)"
            )
        sentence = _sentence_of_worker(error)
        if sentence:
            sys.exit(f"error: {sentence}")
        if not _is_ours(error):
            raise
        if isinstance(error, OSError) and error.strerror and not error.filename:
            sys.exit(f"error: {error.strerror}")
        sys.exit(f"error: {error}")
    except ProcessExitedException as error:
        if error.signal_name:
            sys.exit(
                f"error: process {error.error_index} of the job was ended by {error.signal_name} "
                "(SIGKILL often means that memory ran out: lower SOLVER.IMS_PER_BATCH)"
            )
        sys.exit(error.exit_code or 1)


def _is_ours(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _in_package(frames[-1].filename)


def _in_package(file: str) -> bool:
    return Path(file).resolve().is_relative_to(_PACKAGE)


def _sentence_of_worker(error: BaseException) -> str | None:
    """The sentence of this package's error in a loader's worker process; None for other errors."""
    text = str(error.args[0]) if error.args else ""
    if not _IN_WORKER.match(text):
        return None
    frames, lines = list(_FRAME.finditer(text)), []
    if frames and _in_package(frames[-1].group(1)):
        lines = list(_ERROR_LINE.finditer(text, frames[-1].end()))
    return text[lines[0].end() :].strip() if lines else None


def refuse_misplaced_options(parser: argparse.ArgumentParser, opts: Sequence[str]) -> None:
    """End with a sentence if an option of the tool follows a config key, where it would be ignored.

    Args:
        parser: the tool's.
        opts: the words after the first config key.
    """
    for word in opts:
        if word.startswith("--"):
            parser.error(f"{word} follows a config key, and config keys come last; put it before")


def parse_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """Options from NAME=VALUE words; values are numbers, true, false or text.

    Args:
        parser: the tool's; it ends with a sentence if a word has another form.
        words: of the command line.
    """
    for word in words:
        if "=" not in word:
            parser.error(f"{word}: write NAME=VALUE")
    pairs = (word.split("=", 1) for word in words)
    return {name: yaml.safe_load(value) if value else "" for name, value in pairs}
