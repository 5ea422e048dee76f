"""A network with text for a classifier: pixels from its grid, several words, background."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.nets import DenseNetwork, TextClassifier
from ovseg_d2.systems import TextSegmenter
from ovseg_d2.text import ClassTexts

TEXTS = ClassTexts(
    F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), dim=1)
)


class _Padded(nn.Module):
    """A stride of 4, and an answer for every pixel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, images):
        return self.norm(
            self.conv(F.pad(images, (0, -images.shape[3] % 4, 0, -images.shape[2] % 4)))
        )


@pytest.fixture
def segmenter():
    network = DenseNetwork(_Padded(), nn.Identity(), mean=(99,) * 3, std=(50,) * 3, stride=4)
    return TextSegmenter(network, TextClassifier(6))


def images(*sizes):
    return [255 * torch.rand(3, *size) for size in sizes]


def test_score_pixels_resizes_and_cuts_logits(segmenter):
    segmenter.train()
    (image,) = images((10, 15))
    result = segmenter.score_pixels(image[None], TEXTS)
    assert segmenter.training
    segmenter.eval()
    grid = segmenter(image[None], TEXTS.embeds)
    assert grid.shape == (1, 4, 3, 4)
    expected = F.interpolate(grid, (12, 16), mode="bilinear", align_corners=False)[..., :10, :15]
    torch.testing.assert_close(result, expected)


def test_segment_is_argmax_of_scores(segmenter):
    batch = images((10, 15), (8, 4))
    sizes = [(20, 31), (8, 4)]
    scores = segmenter.score_pixels(batch, TEXTS, sizes)
    labels = segmenter.segment(batch, TEXTS, sizes)
    for score, label, size in zip(scores, labels, sizes, strict=True):
        assert label.shape == size
        assert torch.equal(label, score.argmax(dim=0))


def test_score_pixels_takes_the_best_word(segmenter):
    (image,) = images((8, 8))
    class_ids = torch.tensor([0, 1, 1, 2])
    segmenter.eval()
    probs = segmenter(image[None], TEXTS.embeds).softmax(dim=1)
    best = torch.stack([probs[:, 0], probs[:, 1:3].amax(dim=1), probs[:, 3]], dim=1)
    expected = F.interpolate(best, (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        segmenter.score_pixels(image[None], replace(TEXTS, class_ids=class_ids)), expected
    )


def test_segment_merges_background_classes(segmenter):
    (image,) = images((12, 12))
    labels = segmenter.segment(image[None], replace(TEXTS, background_ids=(1, 3)))
    assert not (labels == 3).any()
    scores = segmenter.score_pixels(image[None], replace(TEXTS, background_ids=(1, 3)))
    assert scores.isfinite().all() and torch.equal(scores.argmax(dim=1), labels)


def test_segment_refuses_images(segmenter):
    with pytest.raises(ValueError, match=r"one of shape \(2, 4, 4\)"):
        segmenter.segment([torch.zeros(2, 4, 4)], TEXTS)
