"""`FeatureQueue`."""

from collections import deque

import pytest
import torch

from ovseg_d2.nets import FeatureQueue


def test_feature_queue_is_first_in_first_out():
    queue = FeatureQueue(5, 2)
    expected: deque = deque(maxlen=5)
    assert queue.vectors.shape == (0, 2)
    for count in (2, 0, 2, 3, 9, 1):
        vectors = torch.randn(count, 2)
        queue.push(vectors)
        expected.extendleft(vectors.flip(0))
        assert torch.equal(queue.vectors, torch.stack(list(expected)))


def test_feature_queue_is_in_the_state_dict():
    queue, again = FeatureQueue(5, 2), FeatureQueue(5, 2)
    queue.push(torch.randn(3, 2))
    again.load_state_dict(queue.state_dict())
    assert torch.equal(again.vectors, queue.vectors)


def test_feature_queue_refuses_length_0():
    with pytest.raises(ValueError, match="length is 0; give 1 or more vectors"):
        FeatureQueue(0, 2)
