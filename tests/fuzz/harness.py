"""Runs seeded cases through one reader and counts what comes out.

A reader's file is a module beside this one, `fuzz_<reader>.py`, that defines `READER`. The suite
runs 200 cases of each; `make fuzz N=100000` runs any number, and `SEED=3` other ones.
"""

import random
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovseg_d2.engine.cli import sentence_for_bad_input

OUTCOMES = ("answer", "sentence", "traceback", "hang", "wrong")
FAULTS = ("traceback", "hang", "wrong")


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Attributes:
        name: of the reader, as `make fuzz READER=<name>` takes it.
        make_case: draws a case from a generator; `folder` is an empty one for the case's files.
        read: runs the reader on a case. What it raises counts as a sentence where the tools would
            print one, and as a traceback elsewhere.
        check: returns why an answer is wrong, or None. Its oracle does not share code with the
            reader.
        seconds: a case that takes longer is a hang.
    """

    name: str
    make_case: Callable[[random.Random, Path], Any]
    read: Callable[[Any], Any]
    check: Callable[[Any, Any], str | None] = lambda case, answer: None
    seconds: float = 10.0


@dataclass
class Report:
    """Outcomes of a reader's cases.

    Attributes:
        counts: outcome -> number of cases.
        faults: (seed of the case, outcome, what was seen) of up to 20 faults.
        sentences: the first words of a sentence -> number of cases.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    sentences: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line of counts, then the faults."""
        lines = [", ".join(f"{name} {self.counts[name]}" for name in OUTCOMES)]
        lines += [f"--- case {seed}: {outcome}\n{text}" for seed, outcome, text in self.faults]
        return "\n".join(lines)


class _Hang(BaseException):
    """A case ran out of time. No `Exception`, so that no reader catches it."""


def fuzz(reader: Reader, cases: int, seed: int = 0) -> Report:
    """Run cases; case i of a seed is the same whatever ran before it."""
    report = Report()
    for index in range(cases):
        case_seed = f"{seed}/{reader.name}/{index}"
        outcome, text = run_case(reader, case_seed)
        report.counts[outcome] += 1
        if outcome == "sentence":
            report.sentences[text[:60]] += 1
        if outcome in FAULTS and len(report.faults) < 20:
            report.faults.append((case_seed, outcome, text))
    return report


def run_case(reader: Reader, case_seed: str) -> tuple[str, str]:
    """Run one case; returns its outcome and what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        case = reader.make_case(random.Random(case_seed), Path(folder))
        try:
            with _time_limit(reader.seconds), sentence_for_bad_input():
                answer = reader.read(case)
        except SystemExit as error:
            return _judge_sentence(error.code)
        except _Hang:
            return "hang", f"more than {reader.seconds} s: {case!r:.500}"
        except BaseException:
            return "traceback", f"{case!r:.500}\n{traceback.format_exc()}"
        fault = reader.check(case, answer)
    return ("wrong", f"{fault}: {case!r:.500}") if fault else ("answer", "")


def _judge_sentence(text: object) -> tuple[str, str]:
    """Accept one line of readable length."""
    if isinstance(text, str) and "\n" not in text.strip() and len(text) < 1500:
        return "sentence", text
    return "traceback", f"no single sentence: {text!r:.3000}"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Hang

    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
