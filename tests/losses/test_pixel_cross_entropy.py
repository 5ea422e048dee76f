"""Cross-entropy of pixels against a loop."""

import math

import torch
import torch.nn.functional as F

from ovseg_d2.losses import pixel_cross_entropy_loss

LABELS = torch.tensor([[[0, 2, 255, 1], [1, 255, 0, 0]]])


def by_loops(logits: torch.Tensor) -> list[float]:
    logits = F.interpolate(logits, (2, 4), mode="bilinear", align_corners=False)
    result = []
    for i in range(2):
        for j in range(4):
            label = int(LABELS[0, i, j])
            if label != 255:
                scores = logits[0, :, i, j].tolist()
                result.append(math.log(sum(math.exp(s) for s in scores)) - scores[label])
    return result


def test_mean_is_over_labelled_pixels():
    logits = torch.randn(1, 3, 1, 2)
    values = by_loops(logits)
    assert len(values) == 6
    torch.testing.assert_close(
        pixel_cross_entropy_loss(logits, LABELS), torch.tensor(sum(values) / 6)
    )
    torch.testing.assert_close(
        pixel_cross_entropy_loss(logits, LABELS, over_all=True), torch.tensor(sum(values) / 8)
    )


def test_nothing_labelled_has_zero_gradients():
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    loss = pixel_cross_entropy_loss(logits, torch.full((2, 4, 4), 7), ignore=7)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_half_precision_is_summed_in_float32():
    assert pixel_cross_entropy_loss(torch.randn(1, 3, 1, 2).half(), LABELS).dtype == torch.float32
