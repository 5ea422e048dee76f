"""MaskCLIP+: which pixels are trained on what, in both settings, against slow oracles."""

from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower
from ovseg_d2.nets import DenseNetwork, TextClassifier
from ovseg_d2.ops import UNLABELLED, Refinement
from ovseg_d2.systems import MaskCLIP, MaskCLIPPlus, TextSegmenter
from ovseg_d2.text import ClassTexts

STRIDE, K, D = 4, 5, 32
MEAN, STD = (120.0,) * 3, (60.0,) * 3


@pytest.fixture
def tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    model = open_clip.CLIP(**tiny_clip_config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean, std)


@pytest.fixture
def build(tower):
    """Give a function from options to a tiny MaskCLIP+, the teacher's among them."""

    def make(learn_background=False, teacher=None, **options):
        backbone = nn.Sequential(nn.Conv2d(3, D, STRIDE, stride=STRIDE), nn.BatchNorm2d(D))
        network = DenseNetwork(backbone, nn.Identity(), mean=MEAN, std=STD, stride=STRIDE)
        classifier = TextClassifier(D, learn_background=learn_background)
        return MaskCLIPPlus(
            MaskCLIP(tower, **(teacher or {})), TextSegmenter(network, classifier), **options
        )

    return make


TEXTS = ClassTexts(
    F.normalize(torch.randn(K, D, generator=torch.Generator().manual_seed(3)), dim=1)
)
IMAGES = 255 * torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(4))


def teachers_labels(system, images, ids):
    """The teacher's labels of some classes, image by image."""
    texts = TEXTS.select(ids)
    labels = [system.teacher.segment(image[None], texts)[0] for image in images]
    return torch.tensor(ids)[torch.stack(labels)]


def cross_entropy(logits, targets):
    logits = F.interpolate(logits, targets.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, targets, ignore_index=255)


# --- annotation-free


@pytest.mark.parametrize(
    "refine", [Refinement(), Refinement(prompt_denoising=0.3, key_smoothing=1.0)]
)
def test_annotation_free_teacher_labels_all_pixels(build, refine):
    system = build(teacher={"refine": refine})
    targets = teachers_labels(system, IMAGES, range(K))
    assert len(targets.unique()) > 1
    expected = cross_entropy(system.student(IMAGES, TEXTS.embeds), targets)
    assert system(IMAGES, TEXTS).keys() == {"loss_sem_seg"}
    torch.testing.assert_close(system(IMAGES, TEXTS)["loss_sem_seg"], expected)
    result = system.statistics.numbers()
    assert result == {"labelled": 0.0, "pseudo_labelled": 1.0, "self_training": 0.0}


def test_annotation_free_leaves_ignored_pixels_out(build):
    system = build()
    labels = torch.full((2, 32, 24), UNLABELLED)
    labels[:, 5:] = 255
    targets = teachers_labels(system, IMAGES, range(K)).masked_fill(labels == 255, 255)
    expected = cross_entropy(system.student(IMAGES, TEXTS.embeds), targets)
    torch.testing.assert_close(system(IMAGES, TEXTS, labels)["loss_sem_seg"], expected)
    assert system.statistics.numbers()["pseudo_labelled"] == pytest.approx(5 / 32)
    official = build(official=True)
    official.load_state_dict(system.state_dict())
    torch.testing.assert_close(official(IMAGES, TEXTS, labels)["loss_sem_seg"], expected * 5 / 32)


def test_annotation_free_without_whole_patches(build):
    images = IMAGES[:, :, :20, :12]
    system = build()
    targets = teachers_labels(system, images, range(K))
    expected = cross_entropy(system.student(images, TEXTS.embeds), targets)
    torch.testing.assert_close(system(images, TEXTS)["loss_sem_seg"], expected)


def test_learnt_background_gets_no_pseudo_labels(build):
    system = build(learn_background=True)
    logits = system.student(IMAGES, TEXTS.embeds, background_rows=(0,))
    expected = cross_entropy(logits, teachers_labels(system, IMAGES, range(1, K)))
    losses = system(IMAGES, replace(TEXTS, background_ids=(0,)))
    torch.testing.assert_close(losses["loss_sem_seg"], expected)
    losses["loss_sem_seg"].backward()
    assert system.student.classifier.background.grad.any()


@pytest.mark.parametrize("background_ids", [(), range(K)])
def test_learnt_background_needs_other_classes(build, background_ids):
    system = build(learn_background=True)
    with pytest.raises(
        ValueError, match=r"of 5 classes \d mean background.*LEARN_BACKGROUND False"
    ):
        system(IMAGES, replace(TEXTS, background_ids=background_ids))


@pytest.mark.parametrize(
    ("ignore", "message"),
    [(K - 1, "one of the 5 classes"), (UNLABELLED, "marks unlabelled pixels")],
)
def test_refuses_an_ignore_label_with_a_meaning(build, ignore, message):
    with pytest.raises(ValueError, match=f"ignore is {ignore}, .*{message}"):
        build(ignore=ignore)(IMAGES, TEXTS)


def test_annotation_free_refuses_labels(build):
    labels = torch.full((2, 32, 24), UNLABELLED)
    labels[1, 3, 3] = 2
    with pytest.raises(ValueError, match="annotation-free training takes none; set INPUT.TRAIN_M"):
        build()(IMAGES, TEXTS, labels)


# --- zero-shot


def zero_shot_labels():
    labels = torch.randint(0, 3, (2, 32, 24), generator=torch.Generator().manual_seed(5))
    labels[:, 8:16] = UNLABELLED
    labels[:, 16:18] = 255
    return labels


def test_zero_shot_fills_gaps_with_unseen_classes(build):
    system = build(setting="zero_shot")
    labels = zero_shot_labels()
    pseudo = teachers_labels(system, IMAGES, (3, 4))
    targets = torch.where(labels == UNLABELLED, pseudo, labels)
    assert set(targets[:, 8:16].unique().tolist()) <= {3, 4}
    expected = cross_entropy(system.student(IMAGES, TEXTS.embeds), targets)
    losses = system(IMAGES, TEXTS, labels, unseen_ids=(4, 3))
    torch.testing.assert_close(losses["loss_sem_seg"], expected)
    result = system.statistics.numbers()
    assert result["labelled"] == pytest.approx(22 / 32)
    assert result["pseudo_labelled"] == pytest.approx(8 / 32)


def test_self_training_fills_gaps_by_the_student(build, monkeypatch):
    system = build(setting="zero_shot")
    monkeypatch.setattr(system.teacher, "score_patches", None)  # the teacher is not called
    labels = zero_shot_labels()
    logits = system.student(IMAGES, TEXTS.embeds)
    pixels = F.interpolate(logits, (32, 24), mode="bilinear", align_corners=False)
    student_labels = 3 + pixels[:, 3:].argmax(dim=1)
    targets = torch.where(labels == UNLABELLED, student_labels, labels)
    losses = system(IMAGES, TEXTS, labels, unseen_ids=(3, 4), self_training=True)
    torch.testing.assert_close(losses["loss_sem_seg"], cross_entropy(logits, targets))
    assert system.statistics.numbers()["self_training"] == 1.0


def test_zero_shot_refuses_labels_of_unseen_classes(build):
    labels = zero_shot_labels()
    labels[0, 0, 0] = 4
    with pytest.raises(ValueError, match=r"unseen classes \[4\]: training must not see them"):
        build(setting="zero_shot")(IMAGES, TEXTS, labels, unseen_ids=(3, 4))


@pytest.mark.parametrize("unseen", [(), (3, K), (-1,)])
def test_zero_shot_refuses_unseen_ids(build, unseen):
    with pytest.raises(ValueError, match=r"unseen_ids are .* of 5 classes; the zero-shot"):
        build(setting="zero_shot")(IMAGES, TEXTS, zero_shot_labels(), unseen_ids=unseen)


def test_zero_shot_refuses_missing_or_other_labels(build):
    system = build(setting="zero_shot")
    with pytest.raises(ValueError, match="labels is None, and the zero-shot setting"):
        system(IMAGES, TEXTS, unseen_ids=(3,))
    with pytest.raises(ValueError, match=r"labels have shape \(2, 32, 12\); give"):
        system(IMAGES, TEXTS, zero_shot_labels()[..., :12], unseen_ids=(3,))


# --- options


def test_confidence_leaves_pseudo_labels_out(build):
    system = build(confidence=0.5)
    scores = system.teacher.score_pixels(IMAGES, TEXTS)
    probs, targets = (scores * system.teacher.tower.logit_scale).softmax(dim=1).max(dim=1)
    assert 0.05 < (probs < 0.5).float().mean() < 0.95
    expected = cross_entropy(
        system.student(IMAGES, TEXTS.embeds), targets.masked_fill(probs < 0.5, 255)
    )
    torch.testing.assert_close(system(IMAGES, TEXTS)["loss_sem_seg"], expected)


@pytest.mark.parametrize("own", [False, True])
def test_confidence_in_zero_shot_keeps_given_labels(build, own):
    """In both halves of a zero-shot training: what is unsure of is ignored, what is given stays."""
    system = build(setting="zero_shot", confidence=0.6)
    labels = zero_shot_labels()
    unseen = torch.tensor([3, 4])
    logits = system.student(IMAGES, TEXTS.embeds).detach()
    if own:
        scores = F.interpolate(logits[:, unseen], (32, 24), mode="bilinear", align_corners=False)
    else:
        scores = system.teacher.score_pixels(IMAGES, TEXTS.select([3, 4]))
        scores = scores * system.teacher.tower.logit_scale
    probs, best = scores.softmax(dim=1).max(dim=1)
    filled = unseen[best].masked_fill(probs < 0.6, 255)
    expected = torch.where(labels == UNLABELLED, filled, labels)
    assert (expected == 255).any() and torch.isin(expected, unseen).any()
    loss = system(IMAGES, TEXTS, labels, unseen_ids=(3, 4), self_training=own)["loss_sem_seg"]
    torch.testing.assert_close(loss, cross_entropy(logits, expected))


def test_distill_features_without_whole_patches(build):
    system = build(distill_features=True)
    images = IMAGES[..., :28, :20]  # 3.5 x 2.5 patches of the teacher, 7 x 5 strides
    tower = system.teacher.tower
    target = F.normalize(tower.dense_feats(tower.normalize(images)), dim=1)
    # The teacher's grid covers 32 x 24 pixels, of which the image is the upper left.
    target = F.interpolate(target, (32, 24), mode="bilinear", align_corners=False)[..., :28, :20]
    target = F.interpolate(target, (7, 5), mode="bilinear", align_corners=False)
    expected = (system.student.network(images) - target).abs().mean()
    torch.testing.assert_close(system(images, TEXTS)["loss_distill"], expected)


def test_distill_features_where_labels_count(build):
    system = build(distill_features=True, feature_weight=3.0)
    labels = torch.full((2, 32, 24), UNLABELLED)
    labels[:, :, 12:] = 255
    losses = system(IMAGES, TEXTS, labels)
    tower = system.teacher.tower
    target = F.normalize(tower.dense_feats(tower.normalize(IMAGES)), dim=1)  # 4 x 3 of 8 pixels
    target = F.interpolate(target, (8, 6), mode="bilinear", align_corners=False)
    distance = (system.student.network(IMAGES) - target).abs()[..., :3].mean()
    torch.testing.assert_close(losses["loss_distill"], 3 * distance)
    assert losses["loss_sem_seg"].item() == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in system.student.parameters())


def test_training_freezes_the_teacher(build):
    system = build()
    assert not any(p.requires_grad for p in system.teacher.parameters())
    assert not system.train().teacher.training and system.student.training
    optimizer = torch.optim.SGD(system.student.parameters(), lr=0.1)
    losses = []
    for _ in range(15):
        loss = system(IMAGES, TEXTS)["loss_sem_seg"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in system.teacher.parameters())


def test_batch_without_labels_has_zero_gradients(build):
    system = build()
    loss = system(IMAGES, TEXTS, torch.full((2, 32, 24), 255))["loss_sem_seg"]
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in system.student.parameters())


def test_refuses_options_and_sizes(build):
    for options, message in (
        ({"setting": "free"}, "setting is 'free'; choose one of"),
        ({"confidence": 1.5}, "confidence is 1.5"),
        ({"feature_weight": -1.0}, "feature_weight is -1.0"),
        ({"teacher": {"window": 16}}, r"windows of \(16, 16\), .*MODEL.MASKCLIP.WINDOW 0"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**options)
    with pytest.raises(ValueError, match="30x24 pixels, and the network's stride of 4 does not"):
        build()(IMAGES[:, :, :30], TEXTS)


def test_teachers_of_independent_words_are_refused(build, tower):
    tower.model.logit_bias = nn.Parameter(torch.tensor(-10.0))
    with pytest.raises(ValueError, match="leave MODEL.MASKCLIP.INDEPENDENT False"):
        build(teacher={"independent": True})
