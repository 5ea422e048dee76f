"""`max_over_words`: worked values, a loop, gradients and errors."""

import pytest
import torch

from ovseg_d2.ops import max_over_words


def test_max_over_words_worked_by_hand() -> None:
    row_scores = torch.tensor([[0.1, 0.9], [0.5, 0.2], [-3.0, -1.0]])[:, None]  # (3, 1, 2)
    scores = max_over_words(row_scores, torch.tensor([0, 0, 1]), 2)
    # A class keeps a negative score.
    assert torch.equal(scores, torch.tensor([[[0.5, 0.9]], [[-3.0, -1.0]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("batched", [True, False])
def test_max_over_words_equals_a_loop(dtype: torch.dtype, batched: bool) -> None:
    class_ids = torch.tensor([2, 0, 1, 2, 2, 0])
    row_scores = torch.randn(2, 6, 3, 5, dtype=torch.float64).to(dtype) - 5
    row_scores = row_scores if batched else row_scores[0]
    scores = max_over_words(row_scores, class_ids, 3)
    assert scores.dtype == dtype
    assert scores.shape == ((2, 3, 3, 5) if batched else (3, 3, 5))
    for k in range(3):
        expected = row_scores[..., class_ids == k, :, :].max(dim=-3).values
        assert torch.equal(scores[..., k, :, :], expected)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_max_over_words_along_any_dimension(dim: int) -> None:
    row_scores, class_ids = torch.randn(4, 4, 4), torch.tensor([1, 0, 1, 2])
    scores = max_over_words(row_scores, class_ids, 3, dim)
    expected = max_over_words(row_scores.movedim(dim, 0), class_ids, 3).movedim(0, dim)
    assert torch.equal(scores, expected)


def test_max_over_words_of_one_row_per_class() -> None:
    row_scores = torch.randn(1, 4, 2, 2)
    assert torch.equal(max_over_words(row_scores, torch.arange(4), 4), row_scores)


def test_max_over_words_gradient_goes_to_the_best_row() -> None:
    row_scores = torch.tensor([[[[1.0, 5.0]], [[2.0, 3.0]]]], requires_grad=True)  # (1, 2, 1, 2)
    max_over_words(row_scores, torch.tensor([0, 0]), 1).sum().backward()
    assert torch.equal(row_scores.grad, torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]]))


def test_max_over_words_without_images() -> None:
    assert max_over_words(torch.zeros(0, 3, 2, 2), torch.tensor([0, 1, 1]), 2).shape == (0, 2, 2, 2)


@pytest.mark.parametrize(
    ("row_scores", "class_ids", "num_classes", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), 1, r"row_scores have shape \(3, 4\)"),
        (torch.zeros(1, 1, 1).long(), torch.tensor([0]), 1, "dtype torch.int64"),
        (torch.zeros(2, 1, 1), torch.tensor([0]), 1, r"class of each of the 2 rows as \(2,\)"),
        (torch.zeros(2, 1, 1), torch.tensor([0.0, 1.0]), 2, "dtype torch.float32"),
    ],
)
def test_max_over_words_refuses(
    row_scores: torch.Tensor, class_ids: torch.Tensor, num_classes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        max_over_words(row_scores, class_ids, num_classes)
