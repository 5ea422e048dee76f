"""The logs of a run: brief on the console, in full in ``log.txt``."""

import logging
import sys

from ..d2.utils import comm
from ..d2.utils.logger import setup_logger
from .console import write_any_name

__all__ = ["BriefFormatter", "set_up_logs"]

_LOGGERS = ("fvcore", "detectron2", "ovseg_d2")
# Folder of a run -> the handlers it has added, each with the name of its logger.
_handlers: dict[str, list[tuple[str, logging.Handler]]] = {}


class BriefFormatter(logging.Formatter):
    """Shortens messages that would fill the screen; the log file has them in full.

    Examples are lists of versions, dumps of configs, tables of every class and tracebacks.
    """

    def __init__(
        self, inner: logging.Formatter, *, max_lines: int = 12, max_chars: int = 500
    ) -> None:
        """Wrap a formatter.

        Args:
            inner: formats the full text.
            max_lines: longer texts are cut to their first line.
            max_chars: longer lines are cut to their beginning.
        """
        super().__init__()
        self._inner = inner
        self._max_lines = max_lines
        self._max_chars = max_chars

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        text = self._inner.format(record)
        if getattr(record, "in_full", False):  # a table meant for the console
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

    The handlers of earlier runs in this process are removed, so that their ``log.txt`` gets no
    lines of this run and the console shows each line once. Handlers of other code stay.

    Args:
        output_dir: an existing folder.
    """
    before = [handler for name in _LOGGERS for handler in logging.getLogger(name).handlers]
    _add_handlers(output_dir)
    mine = _handlers.setdefault(output_dir, [])
    for name in _LOGGERS:
        handlers = logging.getLogger(name).handlers
        mine += [(name, handler) for handler in handlers if handler not in before]
    for run_handlers in _handlers.values():
        for name, handler in run_handlers:
            logging.getLogger(name).removeHandler(handler)
    for name, handler in mine:
        logging.getLogger(name).addHandler(handler)


def _add_handlers(output_dir: str) -> None:
    rank = comm.get_rank()
    # The same arguments as in detectron2's default_setup, so that setup_logger, which caches its
    # calls, adds no handlers a second time.
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
