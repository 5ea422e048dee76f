"""CLIP names masks by their crops: crop by crop, and where there are none."""

from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, MaskPromptedTower
from ovseg_d2.ops import CropOptions
from ovseg_d2.systems import OVSegClassifier
from ovseg_d2.text import ClassTexts


@pytest.fixture
def prompted(tiny_clip_config: dict[str, Any]) -> MaskPromptedTower:
    model = open_clip.CLIP(**tiny_clip_config).eval()
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5, 0.4, 0.3), std=(0.25,) * 3)
    return MaskPromptedTower(tower, depth=2)


def _inputs(num_masks: int = 5) -> tuple[torch.Tensor, torch.Tensor, ClassTexts]:
    image = torch.randint(0, 256, (3, 24, 40)).float()
    masks = torch.zeros(num_masks, 24, 40)
    for index in range(num_masks):
        masks[index, 2 * index : 2 * index + 9, 3 * index : 3 * index + 5 + 2 * index] = 0.7
    return image, masks, ClassTexts(F.normalize(torch.randn(4, 32), dim=-1))


@torch.no_grad()
@pytest.mark.parametrize("fill", ["mean", "zero", "none"])
def test_forward_equals_single_crops(prompted: MaskPromptedTower, fill: str) -> None:
    image, masks, texts = _inputs()
    classifier = OVSegClassifier(prompted, crop=CropOptions(fill=fill), batch_size=2)
    result = classifier(image, masks, texts)
    assert result.valid.all()
    tower = prompted.tower
    colour = {"mean": torch.tensor(tower.mean) * 255, "zero": torch.zeros(3)}.get(fill)
    for mask, probs in zip(masks > 0.4, result.probs, strict=True):
        ys, xs = mask.nonzero(as_tuple=True)
        rows, columns = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
        crop, inside = image[:, rows, columns].clone(), mask[rows, columns]
        if colour is not None:
            crop[:, ~inside] = colour[:, None]
        crop = F.interpolate(tower.normalize(crop)[None], (32, 32), mode="bicubic")
        inside = F.interpolate(inside[None, None].float(), (32, 32))[0] > 0
        embed = prompted.encode_crops(crop, inside)[0]
        torch.testing.assert_close(
            probs, (100 * texts.embeds @ embed).softmax(dim=0), atol=2e-4, rtol=2e-3
        )


@torch.no_grad()
def test_batch_size_changes_nothing(prompted: MaskPromptedTower) -> None:
    image, masks, texts = _inputs()
    inputs = image, masks, texts
    together = OVSegClassifier(prompted)(*inputs)
    alone = OVSegClassifier(prompted, batch_size=1)(*inputs)
    torch.testing.assert_close(together.probs, alone.probs, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_forward_marks_empty_masks(
    prompted: MaskPromptedTower,
) -> None:
    image, masks, texts = _inputs()
    masks[1] = 0.4  # the threshold itself is outside
    classifier = OVSegClassifier(prompted)
    result = classifier(image, masks, texts)
    assert result.valid.tolist() == [True, False, True, True, True]
    assert not result.probs[1].any()
    rest = classifier(image, masks[[0, 2, 3, 4]], texts)
    torch.testing.assert_close(result.probs[[0, 2, 3, 4]], rest.probs)


@torch.no_grad()
@pytest.mark.parametrize("num_valid", [0, 1])
def test_forward_few_masks_and_one_class(prompted: MaskPromptedTower, num_valid: int) -> None:
    image, masks, texts = _inputs(2)
    masks[num_valid:] = 0
    classifier = OVSegClassifier(prompted)
    result = classifier(image, masks, texts.select([0]))
    assert result.probs.tolist() == [[1.0] if index < num_valid else [0.0] for index in range(2)]
    assert classifier(image, masks[:0], texts).probs.shape == (0, 4)


@torch.no_grad()
def test_forward_takes_the_best_word(prompted: MaskPromptedTower) -> None:
    image, masks, texts = _inputs()
    classifier = OVSegClassifier(prompted)
    embeds, _ = classifier.embed_masks(image, masks)
    cosines = embeds @ texts.embeds.t()
    best = torch.stack([cosines[:, :2].amax(dim=1), cosines[:, 2], cosines[:, 3]], dim=1)
    result = classifier(image, masks, replace(texts, class_ids=torch.tensor([0, 0, 1, 2])))
    torch.testing.assert_close(result.probs, (100 * best).softmax(dim=1))


@torch.no_grad()
def test_matting_blends_by_the_soft_mask(prompted: MaskPromptedTower) -> None:
    image, masks, texts = _inputs()
    matting = OVSegClassifier(prompted, crop=CropOptions(matting=True))
    plain = OVSegClassifier(prompted)(image, masks, texts)
    assert (plain.probs - matting(image, masks, texts).probs).abs().max() > 1e-3
    hard = (masks > 0.4).float()
    torch.testing.assert_close(matting(image, hard, texts).probs, plain.probs)


def test_refuses_bad_input(prompted: MaskPromptedTower) -> None:
    image, masks, texts = _inputs()
    classifier = OVSegClassifier(prompted)
    with pytest.raises(ValueError, match="of the image's size"):
        classifier(image, masks[:, 1:], texts)
    with pytest.raises(ValueError, match="D = 32"):
        classifier(image, masks, ClassTexts(texts.embeds[:, 1:]))
    with pytest.raises(ValueError, match="batch_size=0"):
        OVSegClassifier(prompted, batch_size=0)
