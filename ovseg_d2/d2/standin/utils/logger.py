"""Logs on the screen and in a file (``detectron2.utils.logger``)."""

import atexit
import logging
import os
import sys
import time
from functools import cache, lru_cache
from typing import IO

from termcolor import colored

from .file_io import PathManager

__all__ = ["log_every_n_seconds", "setup_logger"]

_DATE_FORMAT = "%m/%d %H:%M:%S"

_last_times: dict[tuple[str, int], float] = {}


class _ScreenFormatter(logging.Formatter):
    """Colours the head of a line, writes "d2." for "detectron2." and marks warnings and errors."""

    def __init__(self) -> None:
        head = colored("[%(asctime)s %(name)s]: ", "green")
        super().__init__(head + "%(message)s", datefmt=_DATE_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        full_name = record.name
        if full_name.startswith("detectron2."):
            record.name = "d2." + full_name.removeprefix("detectron2.")
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
    output: str | None = None, distributed_rank: int = 0, *, name: str = "detectron2"
) -> logging.Logger:
    """Send a logger's messages, from DEBUG up, to the screen and to a file.

    Parent loggers do not get them. A second call with the same arguments changes nothing.

    Args:
        output: a folder, which gets ``log.txt``, or a file name that ends in .txt or .log; None
            for no file. Ranks above 0 write to ``<file>.rank<N>``.
        distributed_rank: rank of this process; only rank 0 writes to the screen.
        name: name of the logger, which is returned.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if distributed_rank == 0:
        screen = logging.StreamHandler(sys.stdout)
        screen.setFormatter(_ScreenFormatter())
        logger.addHandler(screen)

    if output is not None:
        is_file = output.endswith((".txt", ".log"))
        filename = output if is_file else os.path.join(output, "log.txt")
        if distributed_rank > 0:
            filename += f".rank{distributed_rank}"
        PathManager.mkdirs(os.path.dirname(filename) or ".")
        file = logging.StreamHandler(_open_log(filename))
        file.setFormatter(
            logging.Formatter(
                "[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt=_DATE_FORMAT
            )
        )
        logger.addHandler(file)
    return logger


@cache  # loggers that share a file share its stream
def _open_log(filename: str) -> IO[str]:
    stream = PathManager.open(filename, "a")
    atexit.register(stream.close)
    return stream


def log_every_n_seconds(lvl: int, msg: str, n: float = 1, *, name: str) -> None:
    """Log at most once in ``n`` seconds from the calling line.

    Args:
        lvl: logging level.
        msg: the message.
        n: shortest time between two messages, in seconds.
        name: name of the logger.
    """
    caller = sys._getframe(1)
    position = (caller.f_code.co_filename, caller.f_lineno)
    now = time.monotonic()
    if position not in _last_times or now - _last_times[position] >= n:
        logging.getLogger(name).log(lvl, msg)
        _last_times[position] = now
