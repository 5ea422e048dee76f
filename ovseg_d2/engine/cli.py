"""How command-line tools end when their input is wrong."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["sentence_for_bad_input"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


@contextmanager
def sentence_for_bad_input() -> Iterator[None]:
    """Turn errors that this package raises about its input into one sentence and exit code 1.

    Errors that surface anywhere else are bugs, ours or a library's, and keep their traceback.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not frames or not str(Path(frames[-1].filename).resolve()).startswith(_PACKAGE):
            raise
        if isinstance(error, OSError) and error.strerror and not error.filename:
            sys.exit(f"error: {error.strerror}")
        sys.exit(f"error: {error}")
