"""Running one function on many items in processes, with a progress bar."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from tqdm import tqdm

from ...files import WriteError
from ...parent_watch import end_with_parent
from .archives import ArchiveError

__all__ = ["check_workers", "run_parallel"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_CHUNK = 16  # items that a process takes at once


def check_workers(workers: int | None) -> int:
    """Number of processes; None is the number of CPUs that this process may use.

    Raises:
        ValueError: a number below 1.
    """
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if workers < 1:
        raise ValueError(f"--workers is {workers}; give a number of processes from 1")
    return workers


def run_parallel(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, what: str
) -> Iterator[_Result]:
    """Call a function for each item; results come in the order in which they are ready.

    Args:
        function: picklable; its errors end the run.
        items: picklable.
        workers: number of processes; with 1 the function runs in this one.
        what: the work, for the progress bar.

    Yields:
        Results, one for each item.

    Raises:
        ValueError: a process was killed.
        ArchiveError, WriteError: those of the function.
    """
    bar = tqdm(total=len(items), desc=what, unit="file", disable=None)
    chunks = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
    with bar:
        if workers == 1 or len(chunks) <= 1:
            for item in items:
                yield function(item)
                bar.update()
            return
        # A process that is started by another than this one would end at once, see `_start`.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        with ProcessPoolExecutor(workers, context, _start, (os.getpid(),)) as pool:
            try:
                for results in _bounded(pool, function, chunks, 4 * workers):
                    yield from results
                    bar.update(len(results))
            except BrokenProcessPool as error:
                raise ValueError(
                    f"a process of {what!r} was killed, which often means that memory ran out; "
                    f"give fewer than --workers {workers} and run the command again"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _bounded(
    pool: ProcessPoolExecutor,
    function: Callable[[_Item], _Result],
    chunks: Sequence[Sequence[_Item]],
    most: int,
) -> Iterator[list[_Result]]:
    """Results of chunks, with at most `most` chunks on their way."""
    rest = iter(chunks)
    running: set[Future[list[_Result] | ArchiveError | WriteError]] = set()
    while True:
        for chunk in islice(rest, most - len(running)):
            running.add(pool.submit(_call, function, chunk))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            results = future.result()
            if isinstance(results, Exception):
                raise results
            yield results


def _call(
    function: Callable[[_Item], _Result], chunk: Sequence[_Item]
) -> list[_Result] | ArchiveError | WriteError:
    """Results, or an error with a sentence: raised here, its traceback would be concurrent's."""
    try:
        return [function(item) for item in chunk]
    except (ArchiveError, WriteError) as error:
        return error


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started the job ends it
    end_with_parent(parent)
