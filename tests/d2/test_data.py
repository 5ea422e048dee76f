"""Contract of the test loader, with detectron2 and with the stand-in."""

import pytest

from ovseg_d2.d2.data import build_detection_test_loader
from ovseg_d2.d2.data.samplers import InferenceSampler


# A function that a worker process can be given.
def _double(number):
    return 2 * number


@pytest.mark.parametrize("num_workers", [0, 2])
def test_test_loader_goes_through_the_set_once(num_workers):
    loader = build_detection_test_loader(
        list(range(5)), mapper=_double, batch_size=2, num_workers=num_workers
    )
    assert len(loader) == 3
    assert list(loader) == list(loader) == [[0, 2], [4, 6], [8]]


def test_test_loader_shares_the_set_among_processes(pretend_world):
    batches = []
    for rank in range(2):
        pretend_world(2, rank)
        batches.append(list(build_detection_test_loader(list(range(5)), mapper=_double)))
    assert batches == [[[0], [2], [4]], [[6], [8]]]


def test_test_loader_takes_a_sampler():
    loader = build_detection_test_loader([1, 2, 3], mapper=_double, sampler=InferenceSampler(2))
    assert list(loader) == [[2], [4]]


def test_mapper_gets_a_copy():
    samples = [{"id": 0}, {"id": 1}]
    loader = build_detection_test_loader(samples, mapper=lambda sample: sample.pop("id"))
    assert list(loader) == list(loader) == [[0], [1]]
    assert samples == [{"id": 0}, {"id": 1}]
