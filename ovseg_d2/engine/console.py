"""Text streams of any encoding that write any file name."""

import io

__all__ = ["write_any_name"]


def write_any_name(stream: object) -> None:
    """Make a text stream escape characters missing in its encoding, instead of raising.

    A file name may hold bytes that are not UTF-8, and a console may be ASCII. Other objects stay
    unchanged.
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")
