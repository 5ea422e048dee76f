import random
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
run = runpy.run_path(str(FOLDER / "run.py"))
READERS = run["load_readers"]()
from harness import FAULTS, Reader, fuzz  # noqa: E402
from mutate import mutate_bytes, mutate_json  # noqa: E402


@pytest.mark.parametrize("name", READERS)
def test_reader_answers_or_says_why_not(name):
    report = fuzz(READERS[name], cases=200)
    assert not any(report.counts[fault] for fault in FAULTS), str(report)
    # A fuzzer that never reaches the reader, or never breaks its input, proves nothing.
    assert report.counts["answer"] and report.counts["sentence"], str(report)


def test_harness_tells_the_outcomes_apart():
    def read(case):
        if case == "traceback":
            return {}["absent"]
        if case == "hang":
            while True:
                pass
        return case

    cases = iter(("answer", "traceback", "hang", "wrong"))
    reader = Reader(
        "harness",
        lambda rng, folder: next(cases),
        read,
        lambda case, answer: "as planned" if answer == "wrong" else None,
        seconds=0.2,
    )
    report = fuzz(reader, cases=4)
    assert dict(report.counts) == {"answer": 1, "traceback": 1, "hang": 1, "wrong": 1}
    assert "KeyError" in str(report) and "as planned" in str(report)


def test_mutations_are_repeated_by_their_seed():
    data = bytes(range(64))
    first, again = (mutate_bytes(random.Random(3), data) for _ in range(2))
    assert first == again != data
    value = {"a": [1, {"b": "text"}]}
    first, again = (mutate_json(random.Random(4), value) for _ in range(2))
    assert repr(first) == repr(again) != repr(value)
    assert value == {"a": [1, {"b": "text"}]}
