"""Templates by entropy: loops over locations, ranks and refusals."""

import math

import pytest
import torch

from ovseg_d2.ops import entropy_by_class, lowest_entropy


def test_entropy_by_class_equals_a_loop_over_locations() -> None:
    logits = 3 * torch.randn(4, 5, 3, 2)
    sums, counts = entropy_by_class(logits)
    expected, numbers = torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, 5)
    for t in range(4):
        for y in range(3):
            for x in range(2):
                values = [math.exp(value) for value in logits[t, :, y, x].tolist()]
                probs = [value / sum(values) for value in values]
                winner = probs.index(max(probs))
                expected[t, winner] -= sum(p * math.log(p) for p in probs)
                numbers[t, winner] += 1
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(counts, numbers.double()) and (counts == 0).any()


def test_lowest_entropy_ranks_means_of_templates_that_predict_the_class() -> None:
    sums = torch.tensor([[4.0, 0.0, 0.0], [1.0, 6.0, 0.0], [9.0, 1.0, 0.0]])
    counts = torch.tensor([[2.0, 0.0, 0.0], [1.0, 2.0, 0.0], [9.0, 1.0, 0.0]])
    # Means of class 0 are 2, 1, 1; template 0 never predicts class 1, and nothing predicts class 2.
    assert lowest_entropy(sums, counts, 2) == [[1, 2], [2, 1], []]
    assert lowest_entropy(sums, counts, 5) == [[1, 2, 0], [2, 1], []]
    with pytest.raises(ValueError, match="keep is 0; keep at least 1 template"):
        lowest_entropy(sums, counts, 0)
