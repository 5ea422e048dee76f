"""Text streams that write any file name, whatever their encoding."""

import io

__all__ = ["write_any_name"]


def write_any_name(stream: object) -> None:
    """Let a stream escape the letters that its encoding does not have, instead of raising.

    A file name may hold bytes that are no UTF-8, and a console may be ASCII.

    Args:
        stream: of text; what is none stays as it is.
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
