"""Fine-tuning on seen classes: the loss by hand, and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.nets import DenseNetwork, TextClassifier
from ovseg_d2.ops import UNLABELLED
from ovseg_d2.systems import CLIPFineTune, TextSegmenter
from ovseg_d2.text import ClassTexts

TEXTS = ClassTexts(
    F.normalize(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)), dim=1)
)
IMAGES = 255 * torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def build(**options):
    backbone = nn.Conv2d(3, 6, 4, stride=4)
    network = DenseNetwork(backbone, nn.Identity(), mean=(99,) * 3, std=(50,) * 3, stride=4)
    return CLIPFineTune(TextSegmenter(network, TextClassifier(6, **options)))


def labels():
    result = torch.tensor([0, 2, 4])[torch.randint(0, 3, (2, 8, 12))]
    result[0, :3] = UNLABELLED
    result[1, :, :2] = 255
    return result


@pytest.mark.parametrize("options", [{}, {"mapper": "mlp", "logit_scale": 9.0}])
def test_forward_leaves_unseen_classes_out(options):
    system, given = build(**options), labels()
    logits = system.segmenter(IMAGES, TEXTS.embeds)[:, [0, 2, 4]]
    logits = F.interpolate(logits, (8, 12), mode="bilinear", align_corners=False).log_softmax(1)
    place = {0: 0, 2: 1, 4: 2}
    losses = [
        -logits[b, place[int(given[b, i, j])], i, j]
        for b in range(2)
        for i in range(8)
        for j in range(12)
        if int(given[b, i, j]) in place
    ]
    result = system(IMAGES, TEXTS, given, unseen_ids=(3, 1))["loss_sem_seg"]
    torch.testing.assert_close(result, torch.stack(losses).mean())
    result.backward()
    assert all(p.grad is not None for p in system.parameters())


def test_forward_refuses_bad_input():
    system = build()
    with pytest.raises(ValueError, match=r"unseen classes \[2\]"):
        system(IMAGES, TEXTS, labels(), unseen_ids=(2,))
    with pytest.raises(ValueError, match="labels have shape"):
        system(IMAGES, TEXTS, labels()[:1])
    with pytest.raises(ValueError, match="of 5 classes 1 are seen; training needs two"):
        system(IMAGES, TEXTS, torch.zeros(2, 8, 12).long(), unseen_ids=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="stride of 4 does not divide"):
        system(IMAGES[..., :10], TEXTS, labels()[..., :10])
    frozen = system.segmenter.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing is to be trained: .*evaluate MaskCLIP"):
        CLIPFineTune(frozen)
