"""The contract of the samplers: holds on detectron2 and on the stand-in alike."""

from itertools import islice

import pytest
from torch.utils.data import Sampler

from ovseg_d2.d2.data.samplers import InferenceSampler, TrainingSampler


def _take(sampler, count):
    return list(islice(sampler, count))


def test_training_stream_is_one_permutation_after_the_other():
    stream = _take(TrainingSampler(20, seed=3), 60)
    epochs = stream[:20], stream[20:40], stream[40:]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(20))


def test_training_stream_is_decided_by_the_seed():
    first = _take(TrainingSampler(20, seed=3), 40)
    assert _take(TrainingSampler(20, seed=3), 40) == first
    assert _take(TrainingSampler(20, seed=4), 40) != first
    sampler = TrainingSampler(20, seed=3)
    assert _take(sampler, 40) == _take(sampler, 40) == first


def test_minus_one_is_a_seed_like_any_other():
    assert _take(TrainingSampler(20, seed=-1), 40) == _take(TrainingSampler(20, seed=-1), 40)


def test_without_a_seed_one_is_drawn():
    streams = [_take(TrainingSampler(20), 20) for _ in range(2)]
    assert all(sorted(stream) == list(range(20)) for stream in streams)
    assert streams[0] != streams[1]


def test_training_stream_without_shuffling():
    assert _take(TrainingSampler(3, shuffle=False, seed=0), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_processes_share_one_training_stream(pretend_world):
    whole = _take(TrainingSampler(5, seed=1), 30)
    for rank in range(3):
        pretend_world(3, rank)
        assert _take(TrainingSampler(5, seed=1), 10) == whole[rank::3]


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_training_size_is_a_positive_int(size, error):
    with pytest.raises(error, match="TrainingSampler"):
        TrainingSampler(size)


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        (5, [[0, 1, 2, 3, 4]]),
        (5, [[0, 1, 2], [3, 4]]),
        (6, [[0, 1, 2], [3, 4, 5]]),
        (8, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (2, [[0], [1], []]),
    ],
)
def test_inference_blocks(pretend_world, size, blocks):
    for rank, block in enumerate(blocks):
        pretend_world(len(blocks), rank)
        sampler = InferenceSampler(size)
        assert isinstance(sampler, Sampler)
        assert len(sampler) == len(block)
        assert list(sampler) == list(sampler) == block


def test_inference_needs_samples():
    with pytest.raises(AssertionError):
        InferenceSampler(0)
