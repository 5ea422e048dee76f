"""Logs on the screen and in a file (``detectron2.utils.logger``)."""

import atexit
import logging
import os
import sys
import time
from collections.abc import Hashable
from functools import cache, lru_cache
from typing import IO

from termcolor import colored

from .file_io import PathManager

__all__ = ["log_every_n_seconds", "setup_logger"]

_DATE_FORMAT = "%m/%d %H:%M:%S"

_last_times: dict[Hashable, float] = {}


class _ScreenFormatter(logging.Formatter):
    """Colours the head of a line, shortens the logger's name and makes warnings stand out."""

    def __init__(self, name: str, abbrev_name: str) -> None:
        head = colored("[%(asctime)s %(name)s]: ", "green")
        super().__init__(head + "%(message)s", datefmt=_DATE_FORMAT)
        self._prefix = name + "."
        self._short_prefix = abbrev_name + "." if abbrev_name else ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        full_name = record.name
        if full_name.startswith(self._prefix):
            record.name = self._short_prefix + full_name[len(self._prefix) :]
        line = super().formatMessage(record)
        # Handlers share the record: the file keeps the full name.
        record.name = full_name
        if record.levelno >= logging.ERROR:
            return colored("ERROR", "red", attrs=["blink", "underline"]) + " " + line
        if record.levelno == logging.WARNING:
            return colored("WARNING", "red", attrs=["blink"]) + " " + line
        return line


@lru_cache  # a repeated call must not add the handlers, and so every line, a second time
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = "detectron2",
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
) -> logging.Logger:
    """Send a logger's messages, from DEBUG up, to the screen and to a file.

    A second call with the same arguments changes nothing.

    Args:
        output: a folder, which gets ``log.txt``, or a file name that ends in .txt or .log; None
            for no file. Ranks above 0 write to ``<file>.rank<N>``.
        distributed_rank: rank of this process; only rank 0 writes to the screen.
        color: coloured heads on the screen.
        name: the logger.
        abbrev_name: what the screen shows instead of ``name``; "" shows nothing. Defaults to
            "d2" for detectron2 and to ``name`` itself for others.
        enable_propagation: also hand messages to the parent loggers.
        configure_stdout: write to the screen at all.

    Returns:
        The logger ``name``.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    plain = logging.Formatter(
        "[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt=_DATE_FORMAT
    )

    if configure_stdout and distributed_rank == 0:
        if abbrev_name is None:
            abbrev_name = "d2" if name == "detectron2" else name
        screen = logging.StreamHandler(sys.stdout)
        screen.setFormatter(_ScreenFormatter(name, abbrev_name) if color else plain)
        logger.addHandler(screen)

    if output is not None:
        is_file = output.endswith((".txt", ".log"))
        filename = output if is_file else os.path.join(output, "log.txt")
        if distributed_rank > 0:
            filename += f".rank{distributed_rank}"
        PathManager.mkdirs(os.path.dirname(filename) or ".")
        file = logging.StreamHandler(_open_log(filename))
        file.setFormatter(plain)
        logger.addHandler(file)
    return logger


@cache  # loggers that share a file share its stream
def _open_log(filename: str) -> IO[str]:
    stream = PathManager.open(filename, "a")
    atexit.register(stream.close)
    return stream


def _find_caller() -> tuple[str, tuple[Hashable, ...]]:
    """The module name and the source position of the nearest frame outside this module."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    module = frame.f_globals["__name__"]
    position = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return "detectron2" if module == "__main__" else module, position


def log_every_n_seconds(lvl: int, msg: str, n: float = 1, *, name: str | None = None) -> None:
    """Log at most once in ``n`` seconds from the calling line.

    Args:
        lvl: logging level.
        msg: the message.
        n: shortest time between two messages, in seconds.
        name: logger; the calling module's by default.
    """
    module, position = _find_caller()
    now = time.monotonic()
    if position not in _last_times or now - _last_times[position] >= n:
        logging.getLogger(name or module).log(lvl, msg)
        _last_times[position] = now
