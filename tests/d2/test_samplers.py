"""Contract of the sampler, with detectron2 and with the stand-in."""

import pytest
from torch.utils.data import Sampler

from ovseg_d2.d2.data.samplers import InferenceSampler


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
