"""Errors that leave one image out of a run, and the memory that an image may take.

The module imports nothing of this package, and every other module may import it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["ImageReadError", "ImageTooLargeError", "available_memory", "memory_for", "need_memory"]

# On a CPU without memory left torch raises a plain RuntimeError.
_OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
_ALWAYS_ALLOWED = 2**30  # bytes; below it the system is not asked


class ImageReadError(ValueError):
    """An image cannot be used: one sentence with the file, the problem and the remedy."""


class ImageTooLargeError(ImageReadError):
    """An image needs more memory than there is, or has too many pixels to be trusted."""


@contextmanager
def memory_for(image: object) -> Iterator[None]:
    """Turn running out of memory into an error that names the image in work.

    Args:
        image: its name, or another description of it.

    Raises:
        ImageTooLargeError: the block ran out of memory, on the CPU or on a GPU.
    """
    try:
        yield
    except ImageTooLargeError as error:
        if str(image) in str(error):
            raise
        raise ImageTooLargeError(f"{image}: {error}") from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        # The first line of a long text has the requested size.
        reason = str(error).strip().partition("\n")[0] or "no memory is left"
        raise ImageTooLargeError(
            f"{image}: it needs more memory than there is ({reason[:200]}); shrink it, set "
            "INPUT.MIN_SIZE_TEST, or ask for fewer words"
        ) from error


def need_memory(num_bytes: int, device: torch.device, what: str) -> None:
    """Check that there is enough memory before it is allocated.

    An operating system may promise memory that it does not have, and kill the process later.

    Args:
        num_bytes: to be allocated.
        device: of the memory.
        what: the data, for the error.

    Raises:
        ImageTooLargeError: fewer bytes are free.
    """
    if num_bytes <= _ALWAYS_ALLOWED:
        return
    available = available_memory(device)
    if available is not None and num_bytes > available:
        raise ImageTooLargeError(
            f"{what} need {num_bytes / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are "
            "free; shrink the image, or ask for fewer words"
        )


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None if the system does not report it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + kept
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    return None if match is None else 1024 * int(match[1])


def _is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or _OUT_OF_MEMORY.search(str(error)) is not None
