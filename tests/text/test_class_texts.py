"""Texts of classes: what is counted, kept and refused."""

import pytest
import torch

from ovseg_d2.text import ClassTexts

EMBEDS = torch.eye(4)


def test_rows_are_classes_without_class_ids() -> None:
    plain = ClassTexts(EMBEDS, background_ids=[2])
    assert plain.num_classes == 4 and plain.background_ids == (2,)
    assert plain.background_rows == [2]
    scores = torch.randn(2, 4, 3, 3)
    assert plain.best_of_words(scores) is scores


def test_best_of_words_with_several_rows_a_class() -> None:
    texts = ClassTexts(EMBEDS, torch.tensor([0, 1, 1, 2]), background_ids=(1,))
    assert texts.num_classes == 3 and texts.background_rows == [1, 2]
    scores = torch.tensor([[1.0, 2.0, 5.0, -1.0]])
    assert texts.best_of_words(scores, dim=1).tolist() == [[1.0, 5.0, -1.0]]


def test_select_renumbers_classes_background_and_seen() -> None:
    texts = ClassTexts(EMBEDS, background_ids=(0, 3), seen=torch.tensor([True, False, True, True]))
    some = texts.select([3, 1])
    assert torch.equal(some.embeds, EMBEDS[[3, 1]]) and some.num_classes == 2
    assert some.background_ids == (0,) and some.seen.tolist() == [True, False]
    with pytest.raises(ValueError, match="several rows"):
        ClassTexts(EMBEDS, torch.tensor([0, 1, 1, 2])).select([0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(4),), r"embeds have shape \(4,\)"),
        ((torch.zeros(0, 4),), r"embeds have shape \(0, 4\)"),
        ((EMBEDS, torch.tensor([0, 1])), r"class_ids have shape \(2,\) for 4 rows"),
        ((EMBEDS, torch.tensor([0, 0, 2, 2])), r"each of 0\.\.2 must occur"),
        ((EMBEDS, torch.tensor([-1, 0, 0, 0])), r"classes \[-1, 0\], 2 in all"),
        ((EMBEDS, None, (), torch.ones(3).bool()), r"seen has shape \(3,\) for 4 classes"),
    ],
)
def test_refuses_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTexts(*arguments)


def test_check_dim_refuses_another_width() -> None:
    with pytest.raises(ValueError, match="the joint embedding has D = 8"):
        ClassTexts(EMBEDS).check_dim(8)


def test_class_texts_thresholds_follow_their_classes() -> None:
    embeds = EMBEDS[:3]
    texts = ClassTexts(embeds, thresholds=torch.tensor([0.1, torch.nan, 0.3]))
    torch.testing.assert_close(texts.select([2, 0]).thresholds, torch.tensor([0.3, 0.1]))
    with pytest.raises(ValueError, match=r"thresholds have shape \(2,\) for 3 classes"):
        ClassTexts(embeds, thresholds=torch.zeros(2))
