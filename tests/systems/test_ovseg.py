"""OVSeg: ensembles, makers of masks, oracles, the demo mode, and images where little is valid."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, MaskPromptedTower
from ovseg_d2.ops import CropOptions
from ovseg_d2.systems import (
    GeneratedMasks,
    ImageProposals,
    MaskFormerProposals,
    MaskProposals,
    OVSeg,
    OVSegClassifier,
    oracle_proposals,
    truth_proposals,
    with_others,
)
from ovseg_d2.text import ClassTexts

_SIZE = (24, 40)


@pytest.fixture
def classifier(tower: CLIPTower) -> OVSegClassifier:
    return OVSegClassifier(MaskPromptedTower(tower, depth=1), crop=CropOptions(threshold=0.4))


def _inputs(num_masks: int = 3, num_classes: int = 4):
    """Image, texts and proposals, of which the last covers nothing."""
    image = torch.randint(0, 256, (3, *_SIZE)).float()
    masks = torch.rand(num_masks, *_SIZE)
    masks[-1] *= 0.3
    probs = torch.rand(num_masks, num_classes).softmax(dim=1) * 0.9
    texts = ClassTexts(F.normalize(torch.randn(num_classes, 32), dim=-1))
    return image, texts, MaskProposals(masks, probs)


def _source(proposals: MaskProposals):
    return lambda image, texts: proposals


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_score_pixels_is_the_sum_over_masks(classifier: OVSegClassifier, lam: float) -> None:
    image, texts, proposals = _inputs()
    system = OVSeg(_source(proposals), classifier, lam=lam)
    scores = system.score_pixels(image[None], texts)
    with torch.no_grad():
        clip = classifier(image, proposals.masks, texts)
    assert clip.valid.tolist() == [True, True, False]
    expected = torch.zeros(4, *_SIZE)
    for index in range(3):
        for k in range(4):
            p = proposals.probs[index, k].item()
            q = clip.probs[index, k].item() if clip.valid[index] else 1.0
            expected[k] += p ** (1 - lam) * q**lam * proposals.masks[index]
    torch.testing.assert_close(scores[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(system.segment(image[None], texts)[0], scores[0].argmax(dim=0))


def test_score_pixels_at_another_size(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    system = OVSeg(_source(proposals), classifier)
    at_image_size = system.score_pixels(image[None], texts)
    resized = system.score_pixels(image[None], texts, (11, 53))
    expected = F.interpolate(at_image_size, (11, 53), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized, expected, rtol=1e-4, atol=1e-5)


def test_segment_images_of_two_sizes(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    small = MaskProposals(proposals.masks[:, :16, :16], proposals.probs)
    images = [image, image[:, :16, :16]]
    by_width = {_SIZE[1]: proposals, 16: small}
    system = OVSeg(lambda image, texts: by_width[image.shape[2]], classifier)
    labels = system.segment(images, texts)
    assert [tuple(result.shape) for result in labels] == [_SIZE, (16, 16)]
    assert torch.equal(labels[1], system.segment_masks(images[1], small, texts))
    scores = system.score_masks(images[1], small, texts, (8, 9))
    torch.testing.assert_close(scores, system.score_pixels(images[1][None], texts, (8, 9))[0])


def test_unseen_lam_applies_to_unseen_classes(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    seen = torch.tensor([True, False, True, False])
    system = OVSeg(None, classifier, lam=0.0, unseen_lam=1.0)
    result = system.name_masks(image, proposals, replace(texts, seen=seen))
    q = OVSeg(None, classifier, lam=1.0).name_masks(image, proposals, texts)
    torch.testing.assert_close(result[:, seen], proposals.probs[:, seen])
    torch.testing.assert_close(result[:, ~seen], q[:, ~seen])
    with pytest.raises(ValueError, match="which classes are seen"):
        system.name_masks(image, proposals, texts)


def test_official_lam_0_is_clip_alone(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    result = OVSeg(None, classifier, lam=0.0, official=True).name_masks(image, proposals, texts)
    with torch.no_grad():
        q = classifier(image, proposals.masks, texts)
    torch.testing.assert_close(result, q.probs)


def test_segment_without_a_classifier() -> None:
    image, texts, proposals = _inputs()
    system = OVSeg(_source(proposals), None, lam=0.0)
    expected = torch.einsum("qk,qhw->khw", proposals.probs, proposals.masks).argmax(dim=0)
    assert torch.equal(system.segment(image[None], texts)[0], expected)
    with pytest.raises(ValueError, match="have no classes"):
        system.name_masks(image, MaskProposals(proposals.masks), texts)


def test_segment_masks_without_a_valid_mask(
    classifier: OVSegClassifier,
) -> None:
    image, texts, proposals = _inputs()
    faint = MaskProposals(0.3 * proposals.masks, proposals.probs)
    labels = OVSeg(None, classifier).segment_masks(image, faint, texts)
    left = torch.einsum("qk,qhw->khw", faint.probs**0.3, faint.masks)
    assert torch.equal(labels, left.argmax(dim=0))
    none = MaskProposals(proposals.masks[:0], proposals.probs[:0])
    for size in (None, (7, 9)):
        scores = OVSeg(None, classifier).score_masks(image, none, texts, size)
        assert torch.equal(scores, torch.zeros(4, *(size or _SIZE)))


def test_score_masks_one_valid_mask_one_class(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs(num_masks=2, num_classes=1)
    scores = OVSeg(None, classifier).score_masks(image, proposals, texts)
    expected = (proposals.probs[:, :1, None] ** 0.3 * proposals.masks).sum(dim=0)
    torch.testing.assert_close(scores[0], expected)


class _FixedMaskFormer(torch.nn.Module):
    """Answers one image with given logits."""

    def __init__(self, result: ImageProposals) -> None:
        super().__init__()
        self.proposals = result

    def propose(self, images, texts) -> list[ImageProposals]:
        assert len(images) == 1
        return [self.proposals]


def test_maskformer_proposals_have_the_image_size(
    classifier: OVSegClassifier,
) -> None:
    image, texts, _ = _inputs()
    class_logits = torch.randn(3, 5)
    grid_logits = 3 * torch.randn(3, 8, 16)  # stride 4 of an image padded to 32x64
    result = ImageProposals(class_logits, grid_logits, (32, 64), _SIZE)
    source = MaskFormerProposals(_FixedMaskFormer(result))
    upsampled = F.interpolate(grid_logits[None], (32, 64), mode="bilinear", align_corners=False)
    masks = upsampled[0, :, :24, :40].sigmoid()
    p = class_logits.softmax(dim=1)[:, :4]
    torch.testing.assert_close(source(image, texts).masks, masks)
    scores = OVSeg(source, None, lam=0.0).score_pixels(image[None], texts)
    torch.testing.assert_close(scores[0], torch.einsum("qk,qhw->khw", p, masks))


def test_generated_masks_cover_all_pixels(classifier: OVSegClassifier) -> None:
    seen = []

    def left_half(image: np.ndarray, file_name: str = "") -> np.ndarray:
        seen.append(image)
        masks = np.zeros((1, *image.shape[:2]), bool)
        masks[:, :, :20] = True
        return masks

    image, texts, _ = _inputs()
    result = GeneratedMasks(left_half)(image, texts)
    assert torch.equal(torch.from_numpy(seen[0]).permute(2, 0, 1).float(), image)
    assert result.probs is None
    assert torch.equal(result.masks[1], ~result.masks[0])
    scores = OVSeg(GeneratedMasks(left_half), classifier).score_pixels(image[None], texts)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(1, *_SIZE))
    with torch.no_grad():
        q = classifier(image, result.masks, texts).probs
    torch.testing.assert_close(scores[0, :, 5, 5], q[0])
    torch.testing.assert_close(scores[0, :, 5, 30], q[1])


def test_generated_masks_without_any_mask(classifier: OVSegClassifier) -> None:
    image, texts, _ = _inputs()
    result = GeneratedMasks(lambda image: np.zeros((0, *image.shape[:2]), bool))(image, texts)
    assert result.masks.shape == (1, *_SIZE)
    assert result.masks.all()


def test_truth_proposals_worked_value() -> None:
    labels = torch.tensor([[2, 2, 0], [255, 0, 0]])
    result = truth_proposals(labels, 3, (2, 3))
    assert result.probs is None
    assert result.masks.int().tolist() == [[[0, 0, 1], [0, 1, 1]], [[1, 1, 0], [0, 0, 0]]]
    assert truth_proposals(labels, 3, (4, 6)).masks.sum().item() == 20


def test_oracle_proposals_of_true_masks() -> None:
    labels = torch.arange(24)[:, None].div(8, rounding_mode="floor").expand(_SIZE).clone()
    labels[:, :3] = 65535
    masks = truth_proposals(labels, 4, _SIZE)
    soft = MaskProposals(masks.masks.float() * 0.8)
    result = oracle_proposals(soft, labels, 4)
    assert result.probs.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    system = OVSeg(None, None, lam=0.0)
    image, texts, _ = _inputs()
    segmented = system.segment_masks(image, result, texts)
    assert torch.equal(segmented[:, 3:], labels[:, 3:])


def test_oracle_proposals_without_overlap() -> None:
    labels = torch.full(_SIZE, 255)
    result = oracle_proposals(MaskProposals(torch.ones(1, *_SIZE)), labels, 3)
    assert result.probs.tolist() == [[0, 0, 0]]


def test_demo_keeps_the_best_mask_of_each_class(
    classifier: OVSegClassifier,
) -> None:
    image, texts, _ = _inputs(num_classes=2)
    masks = torch.zeros(4, *_SIZE)
    for index in range(4):
        masks[index, :, 8 * index : 8 * index + 8] = 0.9
    with torch.no_grad():
        q = classifier(image, masks, texts).probs
    labels = OVSeg(None, classifier, demo=True).segment_masks(
        image, MaskProposals(masks, torch.rand(4, 2)), texts
    )
    kept = set(q.argmax(dim=0).tolist())
    for index in range(4):
        expected = int(q[index].argmax()) if index in kept else 1
        assert (labels[:, 8 * index : 8 * index + 8] == expected).all()
    assert (labels[:, 32:] == 1).all()


def test_demo_without_masks_is_all_others(classifier: OVSegClassifier) -> None:
    image, texts, _ = _inputs(num_classes=2)
    for masks in (torch.zeros(0, *_SIZE), torch.zeros(2, *_SIZE)):
        system = OVSeg(None, classifier, demo=True)
        labels = system.segment_masks(image, MaskProposals(masks), texts)
        assert (labels == 1).all()


def test_with_others_appends_once() -> None:
    assert with_others(["cat"]) == ["cat", "others"]
    assert with_others(["others", "cat"]) == ["others", "cat"]


@pytest.mark.parametrize("options", [{"lam": 1.5}, {"lam": math.nan}, {"unseen_lam": -0.1}])
def test_refuses_lambdas(classifier: OVSegClassifier, options: dict) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        OVSeg(None, classifier, **options)


def test_refuses_bad_input(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    with pytest.raises(ValueError, match="classifier is None"):
        OVSeg(None, None)
    system = OVSeg(None, classifier)
    with pytest.raises(ValueError, match="source is None"):
        system.segment(image[None], texts)
    with pytest.raises(ValueError, match=r"\(Q, K\) or None"):
        MaskProposals(proposals.masks, proposals.probs[:1])


def test_score_masks_restores_training_modes(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    modes = []
    classifier.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    system = OVSeg(None, classifier).train()
    scores = system.score_masks(image, proposals, texts)
    assert modes == [False]
    assert system.training
    assert classifier.training
    assert not scores.requires_grad


def test_sweep_classifies_masks_once(classifier: OVSegClassifier) -> None:
    image, texts, proposals = _inputs()
    texts = replace(texts, background_ids=(1, 3))
    named = []
    classifier.register_forward_pre_hook(lambda *args: named.append(args))
    lams = (0.0, 0.3, 1.0)
    result = list(OVSeg(None, classifier).sweep(image, proposals, texts, lams, (11, 53)))
    assert len(named) == 1
    for lam, scores in zip(lams, result, strict=True):
        plain = OVSeg(_source(proposals), classifier, lam=lam)
        torch.testing.assert_close(scores, plain.score_pixels(image[None], texts, (11, 53))[0])
    with pytest.raises(ValueError, match="outside"):
        list(OVSeg(None, classifier).sweep(image, proposals, texts, (1.2,)))
    nameless = MaskProposals(proposals.masks)
    with pytest.raises(ValueError, match="needs the probabilities of proposals and of CLIP"):
        next(OVSeg(None, classifier).sweep(image, nameless, texts, lams))
