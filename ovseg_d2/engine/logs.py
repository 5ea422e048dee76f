"""What a run shows on the console and what it keeps in ``log.txt``."""

import logging
import sys

from ..d2.utils import comm
from ..d2.utils.logger import setup_logger
from .console import write_any_name

__all__ = ["BriefFormatter", "set_up_logs"]

_LOGGERS = ("fvcore", "detectron2", "ovseg_d2")
# By the folder of a run: the handlers that it has added, each with the name of its logger.
_handlers: dict[str, list[tuple[str, logging.Handler]]] = {}


class BriefFormatter(logging.Formatter):
    """Shortens what would fill the screen; whole messages are in the log file.

    Lists of versions, dumps of configs, tables of every class and tracebacks are for looking up,
    and push out of sight what the person at the console has to know.
    """

    def __init__(
        self, inner: logging.Formatter, *, max_lines: int = 12, max_chars: int = 500
    ) -> None:
        """Wrap a formatter.

        Args:
            inner: makes the text.
            max_lines: of a longer text the first line is shown.
            max_chars: of a longer line the beginning is shown.
        """
        super().__init__()
        self._inner = inner
        self._max_lines = max_lines
        self._max_chars = max_chars

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        text = self._inner.format(record)
        if getattr(record, "in_full", False):  # a table that is made for the console
            return text
        lines = text.splitlines()
        if record.exc_info or len(lines) > self._max_lines:
            return f"{lines[0]} ({len(lines)} lines, see log.txt)"
        if any(len(line) > self._max_chars for line in lines):
            return "\n".join(self._shorten(line) for line in lines)
        return text

    def _shorten(self, line: str) -> str:
        if len(line) <= self._max_chars:
            return line
        return f"{line[: self._max_chars]} ... ({len(line)} characters, see log.txt)"


def set_up_logs(output_dir: str) -> None:
    """Log to ``output_dir/log.txt`` in full, and to the console, on rank 0, in brief.

    The handlers of an earlier run in this process are removed, so that its ``log.txt`` gets no line
    of this run and the console shows each line once. Handlers of other code stay.

    Args:
        output_dir: an existing folder.
    """
    before = [handler for name in _LOGGERS for handler in logging.getLogger(name).handlers]
    _add_handlers(output_dir)
    mine = _handlers.setdefault(output_dir, [])
    for name in _LOGGERS:
        added = [each for each in logging.getLogger(name).handlers if each not in before]
        mine += [(name, handler) for handler in added]
    for of_run in _handlers.values():
        for name, handler in of_run:
            logging.getLogger(name).removeHandler(handler)
    for name, handler in mine:
        logging.getLogger(name).addHandler(handler)


def _add_handlers(output_dir: str) -> None:
    rank = comm.get_rank()
    # As detectron2's default_setup calls it, which then finds the handlers there: setup_logger
    # remembers its arguments.
    loggers = [
        setup_logger(output_dir, distributed_rank=rank, name="fvcore"),
        setup_logger(output_dir, distributed_rank=rank),
        setup_logger(output_dir, distributed_rank=rank, name="ovseg_d2"),
    ]
    for handler in (handler for logger in loggers for handler in logger.handlers):
        write_any_name(getattr(handler, "stream", None))
        on_console = getattr(handler, "stream", None) is sys.stdout
        if on_console and not isinstance(handler.formatter, BriefFormatter):
            handler.setLevel(logging.INFO)
            handler.setFormatter(BriefFormatter(handler.formatter or logging.Formatter()))
