"""Hidden patches and words: numbers, distribution and errors."""

import pytest
import torch

from ovseg_d2.ops import draw_patch_masks, draw_word_masks, unmasked_ids


@pytest.mark.parametrize(
    ("num_patches", "ratio", "hidden"), [(64, 0.75, 48), (10, 0.5, 5), (2, 0.01, 1), (3, 0.99, 2)]
)
def test_draw_patch_masks_hides_the_same_number_per_image(num_patches, ratio, hidden):
    masks = draw_patch_masks(7, num_patches, ratio)
    assert masks.shape == (7, num_patches) and masks.dtype == torch.bool
    assert masks.sum(dim=1).tolist() == [hidden] * 7


def test_draw_patch_masks_is_uniform():
    masks = draw_patch_masks(20000, 8, 0.75)
    torch.testing.assert_close(masks.float().mean(dim=0), torch.full((8,), 0.75), atol=0.02, rtol=0)
    # Images are independent: neighbours agree by chance only.
    both = (masks[1:] == masks[:-1]).all(dim=1).float().mean().item()
    assert both == pytest.approx(1 / 28, abs=0.01)  # of 8 over 2 kept patches


def test_draw_patch_masks_depends_on_the_seed():
    torch.manual_seed(5)
    first = draw_patch_masks(3, 16, 0.5)
    torch.manual_seed(5)
    assert torch.equal(draw_patch_masks(3, 16, 0.5), first)
    assert not torch.equal(draw_patch_masks(3, 16, 0.5), first)


def test_unmasked_ids_are_ascending():
    masks = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert unmasked_ids(masks).tolist() == [[1, 3], [0, 1]]


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 75.0, float("nan")])
def test_draw_masks_refuse_ratios(ratio):
    message = "mask ratio is .*; give a share between 0 and 1"
    with pytest.raises(ValueError, match=message):
        draw_patch_masks(1, 4, ratio)
    with pytest.raises(ValueError, match=message):
        draw_word_masks(torch.ones(1, 4, dtype=torch.bool), ratio)


def test_draw_patch_masks_refuses_a_single_patch():
    with pytest.raises(ValueError, match="num_patches is 1: .*larger images or smaller patches"):
        draw_patch_masks(1, 1, 0.5)


def test_draw_word_masks_draws_words_and_at_least_one():
    eligible = torch.zeros(400, 12, dtype=torch.bool)
    counts = torch.arange(400) % 11
    for row, count in enumerate(counts.tolist()):
        eligible[row, 1 : 1 + count] = True
    masks = draw_word_masks(eligible, 0.2)
    assert not (masks & ~eligible).any()
    expected = [0 if c == 0 else max(1, round(0.2 * c)) for c in counts.tolist()]
    assert masks.sum(dim=1).tolist() == expected
    # Every word of texts with three words is drawn in some texts.
    assert masks[counts == 3].any(dim=0).tolist() == [False, True, True, True] + [False] * 8
