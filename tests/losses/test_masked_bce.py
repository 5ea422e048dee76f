"""The loss over covered pixels against worked values and loops."""

import math

import pytest
import torch

from ovseg_d2.losses import masked_bce_loss


def test_worked_value():
    """Probabilities 3/4 and 1/2 of a covered pixel that is inside the first of two channels."""
    # The second pixel is wrong, and not covered.
    logits = torch.tensor([[[[math.log(3), 50.0]], [[0.0, 50.0]]]])
    targets = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    covered = torch.tensor([[[True, False]]])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert masked_bce_loss(logits, targets, covered).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_loops(dtype):
    logits = torch.randn(2, 3, 4, 5).to(dtype)
    targets, covered = (torch.rand(2, 3, 4, 5) > 0.5), torch.rand(2, 4, 5) > 0.6
    terms = []
    for b, y, x in covered.nonzero().tolist():
        for c in range(3):
            prob = 1 / (1 + math.exp(-float(logits[b, c, y, x])))
            terms.append(-math.log(prob if targets[b, c, y, x] else 1 - prob))
    loss = masked_bce_loss(logits, targets, covered)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_only_covered_pixels_have_a_gradient():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    covered = torch.zeros(1, 3, 3, dtype=torch.bool)
    covered[0, 1, 2] = True
    masked_bce_loss(logits, torch.zeros(1, 2, 3, 3), covered).backward()
    assert (logits.grad != 0).nonzero().tolist() == [[0, 0, 1, 2], [0, 1, 1, 2]]


def test_nothing_covered_has_zero_gradients():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = masked_bce_loss(logits, torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(
    ("targets", "covered"), [((1, 2, 3, 4), (1, 3, 3)), ((1, 2, 4, 4), (1, 3, 4))]
)
def test_refuses_shapes(targets, covered):
    with pytest.raises(ValueError, match="resize them to one size"):
        masked_bce_loss(torch.ones(1, 2, 3, 4), torch.ones(targets), torch.ones(covered).bool())
