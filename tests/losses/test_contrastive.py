"""The contrastive loss against worked values, the paper's loops, and a joined batch."""

import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.losses import contrastive_loss, gather_with_grad

WORKER = Path(__file__).with_name("contrastive_worker.py")


def embeds(count: int, dim: int = 6) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, dtype=torch.float64), dim=-1)


def loss_by_loops(
    images: torch.Tensor, texts: torch.Tensor, scale: float, ids: list[int] | None = None
) -> float:
    """Figure 3 of the paper, pair by pair; pairs with an equal text are left out of the sums."""
    count = len(images)
    total = 0.0
    for i in range(count):
        for rows, columns in ((images, texts), (texts, images)):
            logits = [scale * float(rows[i] @ columns[j]) for j in range(count)]
            kept = [j for j in range(count) if j == i or ids is None or ids[j] != ids[i]]
            total -= logits[i] - math.log(sum(math.exp(logits[j]) for j in kept))
    return total / (2 * count)


def test_worked_value():
    """Cosines [[1, 0], [0, 1]] times ln 3: each right answer has probability 3 / (3 + 1)."""
    loss = contrastive_loss(torch.eye(2), torch.eye(2), torch.tensor(math.log(3)))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(math.log(4 / 3), abs=1e-6)


def test_worked_value_is_symmetric():
    """Rows [[2, 1], [0, 1]]: images err by ln(1+1/e) each, texts by ln(1+1/e^2) and ln 2."""
    images = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    by_images = 2 * math.log(1 + math.exp(-1))
    by_texts = math.log(1 + math.exp(-2)) + math.log(2)
    expected = (by_images + by_texts) / 4
    for pair in ((images, texts), (texts, images)):
        loss = contrastive_loss(*pair, torch.tensor(1.0))
        assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_single_pair_has_no_loss():
    assert contrastive_loss(torch.eye(1), -torch.eye(1), torch.tensor(5.0)).item() == 0


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_equals_the_loops_of_the_paper(count, scale):
    images, texts = embeds(count), embeds(count)
    expected = loss_by_loops(images, texts, scale)
    loss = contrastive_loss(images, texts, torch.tensor(scale, dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "ids", [[0, 1, 2, 3, 4], [5, 5, 1, 2, 5], [3, 9, 3, 9, 2], [1, 1, 1, 1, 1]]
)
def test_equal_captions_are_no_negatives(ids):
    images, texts = embeds(5), embeds(5)
    scale = torch.tensor(7.0, dtype=torch.float64)
    loss = contrastive_loss(images, texts, scale, torch.tensor(ids))
    assert loss.item() == pytest.approx(loss_by_loops(images, texts, 7.0, ids), rel=1e-9)
    if len(set(ids)) == 5:
        assert loss.item() == contrastive_loss(images, texts, scale).item()
    if len(set(ids)) == 1:
        assert loss.item() == 0


def test_equal_captions_do_not_push_their_images_away():
    images, texts = embeds(3), embeds(3)
    images.requires_grad_()
    texts = texts[[0, 0, 1]]
    scale = torch.tensor(3.0, dtype=torch.float64)
    contrastive_loss(images, texts, scale, torch.tensor([4, 4, 8])).backward()
    assert torch.isfinite(images.grad).all()
    # Images 0 and 1 learn alike: towards their caption, away from the other one.
    for grad in images.grad[:2]:
        assert grad @ texts[0] < 0 < grad @ (texts[2] - texts[0])


@pytest.mark.parametrize("num_texts", [1, 2])
def test_batch_without_negatives_has_zero_gradients(num_texts):
    images, texts = embeds(3).requires_grad_(), embeds(3 * num_texts).view(3, num_texts, 6)
    texts.requires_grad_()
    ids = torch.full((3, num_texts), 8)
    loss = contrastive_loss(images, texts, torch.tensor(3.0, dtype=torch.float64), ids)
    loss.backward()
    assert loss.item() == images.grad.abs().sum() == texts.grad.abs().sum() == 0


def test_gradients_reach_both_sides_and_the_scale():
    images, texts = embeds(4).requires_grad_(), embeds(4).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)

    def loss(images, texts, scale):
        return contrastive_loss(images, texts, scale, torch.tensor([0, 1, 1, 2]))

    assert torch.autograd.gradcheck(loss, (images, texts, scale))
    loss(images, texts, scale).backward()
    for tensor in (images, texts, scale):
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    images, texts = embeds(4).to(dtype), embeds(4).to(dtype)
    scale = torch.tensor(10.0, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive_loss(images, texts, scale, torch.arange(4) // 2)
    assert loss.dtype == torch.float32
    expected = loss_by_loops(images.double(), texts.double(), 10.0, [0, 0, 1, 1])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_refuses_shapes(shapes):
    with pytest.raises(ValueError, match="give each image the same number of texts"):
        contrastive_loss(*(torch.ones(shape) for shape in shapes), torch.tensor(1.0))


@pytest.mark.parametrize("shape", [(2,), (1,), (3, 1), ()])
def test_refuses_text_ids(shape):
    ids = torch.zeros(shape, dtype=torch.long)
    with pytest.raises(ValueError, match=r"text_ids .* must be \(3,\): give one id for each text"):
        contrastive_loss(torch.ones(3, 4), torch.ones(3, 4), torch.tensor(1.0), ids)


def test_several_texts_an_image_equal_loops():
    """Each text is a right answer; wrong are the texts that an image was not given."""
    images, texts = embeds(3), torch.stack([embeds(3), embeds(3)], dim=1)
    ids = [[0, 1], [1, 2], [3, 3]]
    scale = 6.0
    total = 0.0
    for i, m in itertools.product(range(3), range(2)):
        right = scale * float(images[i] @ texts[i, m])
        wrong = [
            scale * float(images[i] @ texts[j, n])
            for j, n in itertools.product(range(3), range(2))
            if ids[j][n] not in ids[i]
        ]
        total += math.log(sum(map(math.exp, [right, *wrong]))) - right
        wrong = [
            scale * float(images[j] @ texts[i, m]) for j in range(3) if ids[i][m] not in ids[j]
        ]
        total += math.log(sum(map(math.exp, [right, *wrong]))) - right
    loss = contrastive_loss(
        images, texts, torch.tensor(scale, dtype=torch.float64), torch.tensor(ids)
    )
    assert loss.item() == pytest.approx(total / 12, rel=1e-9)


def test_texts_of_one_image_are_no_negatives():
    images, texts = embeds(3), torch.stack([embeds(3), embeds(3)], dim=1)
    scale = torch.tensor(4.0, dtype=torch.float64)
    loss = contrastive_loss(images, texts, scale)
    ids = torch.arange(6).view(3, 2)
    assert loss.item() == contrastive_loss(images, texts, scale, ids).item()
    single_losses = [contrastive_loss(images, texts[:, [m]], scale).item() for m in range(2)]
    assert loss.item() > sum(single_losses) / 2  # more negatives for each image


def test_gather_with_grad_in_a_single_process():
    values = torch.randn(3, 2)
    assert gather_with_grad(values) is values


@pytest.mark.slow
def test_contrastive_loss_in_two_processes_equals_one(run_in_two_processes):
    *reports, joined = run_in_two_processes(WORKER)
    for kind in ("loss", "plain_loss"):
        assert joined[kind] == pytest.approx(sum(r[kind] for r in reports) / 2, rel=1e-9)
    for name, grad in joined["grads"].items():
        assert grad.abs().sum() > 0
        for report in reports:
            torch.testing.assert_close(report["grads"][name], grad, rtol=1e-9, atol=1e-12)
    for report in reports:
        assert report["gathered_ids"] == [[4, 1], [7, 4], [5, 2], [7, 3], [4, 8], [6, 6]]
        torch.testing.assert_close(report["gathered"], torch.arange(12.0).view(6, 2))
        # Row r of the sum over ranks of (rank + 1) * gathered: 1 + 2 for each entry.
        torch.testing.assert_close(report["gathered_grad"], torch.full((3, 2), 3.0))


def test_negative_embeds_count_for_their_image_alone():
    images, texts = embeds(3), embeds(3)
    wrong = torch.stack([embeds(2) for _ in range(3)])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    scale = torch.tensor(9.0, dtype=torch.float64)
    loss = contrastive_loss(images, texts, scale, negative_embeds=wrong, negative_mask=mask)
    total = 0.0
    for i in range(3):
        rows = [9.0 * float(images[i] @ text) for text in texts]
        extra = [9.0 * float(images[i] @ wrong[i, n]) for n in range(2) if mask[i, n]]
        columns = [9.0 * float(image @ texts[i]) for image in images]
        for logits in (rows + extra, columns):
            total += math.log(sum(math.exp(value) for value in logits)) - rows[i]
    assert loss.item() == pytest.approx(total / 6, rel=1e-9)
