"""MaskMatcher against a slow search."""

import numpy as np
import open_clip
import pytest
import torch

from ovseg_d2.clip import CLIPTower, MaskPromptedTower, load_clip
from ovseg_d2.mining import MaskMatcher
from ovseg_d2.ops import CropOptions
from ovseg_d2.systems import OVSegClassifier
from ovseg_d2.text import TextBank

NOUNS = ["red star", "dog", "grass"]


@pytest.fixture
def classifier(tiny_clip_config) -> OVSegClassifier:
    model = open_clip.CLIP(**tiny_clip_config)
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3).eval()
    return OVSegClassifier(MaskPromptedTower(tower, depth=0), crop=CropOptions(fill="zero"))


@pytest.fixture
def matcher(classifier) -> MaskMatcher:
    return MaskMatcher(classifier, TextBank(classifier.prompted.tower, ["a photo of a {}"]))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((4, 20, 30), dtype=bool)
    masks[0, :9, :20] = masks[2, 5:, 11:19] = masks[3, 12:, :] = True
    return masks  # the second is empty


@torch.no_grad()
def test_matcher_takes_the_best_mask_of_each_noun(matcher, classifier, image, masks):
    found = matcher(image, masks, NOUNS)
    tower = classifier.prompted.tower
    black = tower.normalize(torch.zeros(1, 3, 32, 32))
    assert [match.noun for match in found] == NOUNS
    for match in found:
        text = tower.encode_text(tower.tokenize([f"a photo of a {match.noun}"]))[0]
        cosines = {}
        for number in (0, 2, 3):
            rows, columns = np.nonzero(masks[number])
            box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            crop = np.where(masks[number][box][..., None], image[box], 0).transpose(2, 0, 1)
            crop = tower.normalize(torch.from_numpy(crop).float()[None])
            crop = torch.nn.functional.interpolate(crop, black.shape[-2:], mode="bicubic")
            cosines[number] = float(tower.encode_image(crop)[0] @ text)
        assert match.mask == max(cosines, key=cosines.get)
        assert match.score == pytest.approx(cosines[match.mask], abs=1e-5)


def test_matcher_returns_nothing_without_masks_or_nouns(matcher, image, masks):
    assert matcher(image, masks[1:2], NOUNS) == []
    assert matcher(image, masks[:0], NOUNS) == []
    assert matcher(image, masks, []) == []
    matcher.remember([])


def test_remember_encodes_nouns_once(matcher, classifier, image, masks, monkeypatch):
    before = matcher(image, masks, NOUNS)
    matcher.remember(["cat", "dog", "cat"])

    def encode(*_):
        raise AssertionError("encoded again")

    monkeypatch.setattr(classifier.prompted.tower, "encode_text", encode)
    assert matcher(image, masks, NOUNS) == before
    assert matcher(image, masks, ["cat"])[0].noun == "cat"


def test_matcher_refuses_other_towers_and_sizes(classifier, matcher, image, masks):
    with pytest.raises(ValueError, match="text_bank uses another tower"):
        MaskMatcher(classifier, TextBank(load_clip("ShapesCLIP"), ["{}"]))
    with pytest.raises(ValueError, match=r"masks \(4, 20, 29\) for an image of \(20, 30\)"):
        matcher(image, masks[:, :, 1:], NOUNS)
