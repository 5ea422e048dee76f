"""Processes of a preparation."""

import os
import signal

import pytest

from ovseg_d2.engine.cli import sentence_for_bad_input
from ovseg_d2.files import write_atomically
from ovseg_d2.prepare.datasets.parallel import check_workers, run_parallel


def _square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def _die(number: int) -> None:
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)


def test_run_parallel_gives_each_result_once_from_other_processes() -> None:
    results = list(run_parallel(_square, range(200), 2, "squares"))
    assert sorted(square for square, _ in results) == [i * i for i in range(200)]
    assert os.getpid() not in {process for _, process in results}


def test_run_parallel_names_a_killed_process() -> None:
    with pytest.raises(ValueError, match="fewer than --workers 2 and run the command again"):
        list(run_parallel(_die, range(100), 2, "deaths"))


def _fail(number: int) -> None:
    if number == 20:
        with write_atomically("/dev/null/file"):
            pass


def test_run_parallel_ends_with_the_sentence_of_a_process() -> None:
    with pytest.raises(SystemExit, match=r"^error: cannot write /dev/null/file: .*another folder$"):
        with sentence_for_bad_input():
            list(run_parallel(_fail, range(100), 2, "failures"))


def test_check_workers_counts_the_cpus_of_this_process() -> None:
    assert check_workers(None) == len(os.sched_getaffinity(0))
    assert check_workers(3) == 3
