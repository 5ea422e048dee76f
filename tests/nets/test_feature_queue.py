"""The queue of earlier vectors: first in, first out."""

from collections import deque

import pytest
import torch

from ovseg_d2.nets import FeatureQueue


def test_first_in_first_out():
    queue = FeatureQueue(5, 2)
    expected: deque = deque(maxlen=5)
    assert queue.vectors.shape == (0, 2)
    for count in (2, 0, 2, 3, 9, 1):
        vectors = torch.randn(count, 2)
        queue.push(vectors)
        expected.extendleft(vectors.flip(0))
        assert torch.equal(queue.vectors, torch.stack(list(expected)))


def test_a_checkpoint_holds_it():
    queue, again = FeatureQueue(5, 2), FeatureQueue(5, 2)
    queue.push(torch.randn(3, 2))
    again.load_state_dict(queue.state_dict())
    assert torch.equal(again.vectors, queue.vectors)


def test_refuses_no_length():
    with pytest.raises(ValueError, match="1 or more"):
        FeatureQueue(0, 2)
