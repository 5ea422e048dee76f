"""OVSegMaskFormer: names by cosines, one loss for images of any size, pixels from masks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.losses import SetCriterion
from ovseg_d2.nets import (
    HungarianMatcher,
    ProposalHead,
    TimmFeatures,
    build_timm_features,
    proposal_head_parts,
)
from ovseg_d2.systems import ImageProposals, OVSegMaskFormer
from ovseg_d2.text import ClassTexts

EMBED_DIM = 6
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Pyramid(nn.Module):
    """Maps of strides 2 and 4, by name if asked so."""

    def __init__(self, named: bool = False) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 5, 2, stride=2)
        self.named = named

    def forward(self, images: torch.Tensor) -> Any:
        fine = self.fine(images)
        coarse = self.coarse(fine.relu())
        return {"coarse": coarse, "fine": fine} if self.named else (fine, coarse)


def system(backbone: nn.Module | None = None, channels: Any = (4, 5), **options: Any) -> Any:
    sizes = {"conv_channels": 32, "mask_channels": 6, "dim": 8, "num_queries": 5, "num_layers": 2}
    sizes |= {"num_heads": 2, "hidden_dim": 16, "query_hidden_dim": 12, "dropout": 0.0}
    return OVSegMaskFormer(
        backbone=backbone or Pyramid(),
        head=ProposalHead(**proposal_head_parts(channels, EMBED_DIM, **sizes)),
        embed_dim=EMBED_DIM,
        mean=MEAN,
        std=STD,
        **{"size_divisibility": 8, **options},
    )


def random_images(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    return [torch.randint(256, (3, *size)).float() for size in sizes]


def texts(count: int = 4) -> ClassTexts:
    return ClassTexts(F.normalize(torch.randn(count, EMBED_DIM), dim=1))


def objects(images: list[torch.Tensor], *counts: int) -> tuple[list[Any], list[Any]]:
    """Classes and masks of each image."""
    ids = [torch.randint(4, (count,)) for count in counts]
    return ids, [
        torch.rand(count, *image.shape[1:]) > 0.5
        for image, count in zip(images, counts, strict=True)
    ]


# --- names ---


def test_class_logits_are_100_cosines():
    model, class_texts, feats = system(), texts(3), torch.randn(2, 5, EMBED_DIM)
    result = model.class_logits(feats, class_texts)
    assert result.shape == (2, 5, 4)
    every = [*class_texts.embeds, model.no_object_embed[0]]
    for image in range(2):
        for query in range(5):
            for k, row in enumerate(every):
                cosine = F.cosine_similarity(feats[image, query], row, dim=0).item()
                assert result[image, query, k].item() == pytest.approx(100 * cosine, abs=1e-3)


def test_class_logits_take_the_best_word():
    model, class_texts, feats = system(), texts(4), torch.randn(1, 5, EMBED_DIM)
    single = model.class_logits(feats, class_texts)
    result = model.class_logits(feats, replace(class_texts, class_ids=torch.tensor([1, 0, 1, 2])))
    expected = torch.stack(
        [single[..., 1], single[..., [0, 2]].amax(-1), single[..., 3], single[..., 4]], dim=-1
    )
    assert torch.equal(result, expected)


def test_class_logits_under_autocast_are_float32():
    model, class_texts, feats = system(), texts(3), torch.randn(1, 5, EMBED_DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = model.class_logits(feats, class_texts)
    assert torch.equal(result, model.class_logits(feats, class_texts))


def test_class_probs_leave_no_object_out():
    """Odds of 2 to 1 to 1 for two classes and none."""
    logits = torch.tensor([[2.0, 1.0, 1.0]]).log()
    result = ImageProposals(logits, torch.zeros(1, 2, 2), (8, 8), (8, 8)).class_probs
    torch.testing.assert_close(result, torch.tensor([[0.5, 0.25]]))


# --- masks ---


def test_mask_logits_are_cut_to_the_image():
    ramp = torch.arange(4.0).expand(1, 4, 4)
    result = ImageProposals(torch.zeros(1, 3), ramp, (16, 16), (10, 12))
    whole = F.interpolate(ramp[None], (16, 16), mode="bilinear", align_corners=False)[0]
    assert torch.equal(result.mask_logits(), whole[:, :10, :12])
    assert result.mask_logits((5, 7)).shape == (1, 5, 7)
    assert torch.equal(result.mask_probs(), result.mask_logits().sigmoid())
    expected = F.interpolate(
        result.mask_logits().sigmoid()[None], (5, 7), mode="bilinear", align_corners=False
    )
    assert torch.equal(result.mask_probs((5, 7)), expected[0])


@torch.no_grad()
def test_propose_equals_the_parts():
    model, class_texts = system().eval(), texts()
    images = random_images((13, 20), (24, 9))
    results = model.propose(images, class_texts)
    batch = torch.zeros(2, 3, 24, 24)
    for i, image in enumerate(images):
        for c in range(3):
            normed = (image[c] / 255 - MEAN[c]) / STD[c]
            batch[i, c, : image.shape[1], : image.shape[2]] = normed
    (proposals,) = model.head(model.backbone(batch))
    for i, result in enumerate(results):
        torch.testing.assert_close(result.grid_logits, proposals.mask_logits[i])
        expected = model.class_logits(proposals.query_feats, class_texts)[i]
        torch.testing.assert_close(result.class_logits, expected, rtol=1e-4, atol=1e-3)
        assert result.padded_size == (24, 24)
        assert result.image_size == images[i].shape[1:]


def test_propose_restores_training_modes():
    model = system().train()
    model.head.eval()
    (result,) = model.propose(random_images((8, 8)), texts())
    assert not result.class_logits.requires_grad
    assert model.training
    assert model.backbone.training
    assert not model.head.training


# --- pixels ---


@pytest.mark.parametrize("out_size", [None, (9, 31), (40, 22)])
def test_score_pixels_is_the_resized_sum_over_masks(out_size):
    model, class_texts = system(), texts()
    images = random_images((13, 20), (16, 16))
    scores = model.score_pixels(images, class_texts, out_size)
    for image, result in zip(images, scores, strict=True):
        (proposals,) = model.propose([image], class_texts)
        total = sum(
            probs[:, None, None] * mask
            for probs, mask in zip(
                proposals.class_probs, proposals.mask_logits().sigmoid(), strict=True
            )
        )
        size = out_size or tuple(image.shape[1:])
        expected = F.interpolate(total[None], size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    labels = model.segment(images, class_texts, out_size)
    assert all(torch.equal(a.argmax(0), b) for a, b in zip(scores, labels, strict=True))


def test_score_pixels_of_a_batch_equals_single_images():
    model, class_texts = system(), texts()
    batch = torch.stack(random_images((16, 16), (16, 16)))
    scores = model.score_pixels(batch, class_texts)
    assert scores.shape == (2, 4, 16, 16)
    assert torch.equal(scores[1], model.score_pixels(batch[1:], class_texts)[0])
    sizes = [(4, 5), (6, 7)]
    assert [
        tuple(result.shape) for result in model.segment(list(batch), class_texts, sizes)
    ] == sizes


@pytest.mark.parametrize("num_classes", [1, 9])
def test_segment_with_another_vocabulary(num_classes):
    model, image = system(), random_images((16, 12))
    assert model.score_pixels(image, texts(4))[0].shape == (4, 16, 12)
    labels = model.segment(image, texts(num_classes))[0]
    assert labels.shape == (16, 12)
    assert labels.max() < num_classes


def test_segment_merges_background_classes():
    model, class_texts, image = system(), texts(5), random_images((16, 16))
    plain = model.segment(image, class_texts)[0]
    merged = model.segment(image, replace(class_texts, background_ids=(1, 0, 4)))[0]
    expected = torch.where((plain == 0) | (plain == 4), 1, plain)
    assert torch.equal(merged, expected)


# --- training ---


def test_forward_is_the_criterion_on_the_padded_batch():
    model, class_texts = system().eval(), texts()
    images = random_images((13, 20), (24, 9), (8, 8))
    ids, masks = objects(images, 2, 3, 0)
    batches = []
    hook = model.backbone.register_forward_pre_hook(lambda _, args: batches.append(args[0]))
    losses = model(images, class_texts, ids, masks)
    hook.remove()
    assert sorted(losses) == sorted(
        f"loss_{name}{suffix}" for name in ("ce", "mask", "dice") for suffix in ("", "_0")
    )
    padded = [torch.zeros(len(some), 24, 24, dtype=torch.bool) for some in masks]
    for whole, part in zip(padded, masks, strict=True):
        whole[:, : part.shape[1], : part.shape[2]] = part
    (batch,) = batches
    assert batch.shape == (3, 3, 24, 24)
    layers = model.head(model.backbone(batch), all_layers=True)
    predictions = [(model.class_logits(p.query_feats, class_texts), p.mask_logits) for p in layers]
    expected = SetCriterion(matcher=HungarianMatcher())(predictions, ids, padded)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5)


@pytest.mark.parametrize("counts", [(3, 1), (0, 0), (0, 9)])
def test_forward_gives_every_parameter_a_gradient(counts):
    """As DistributedDataParallel needs, also where there is no object, or more than proposals."""
    model, images = system(), random_images((16, 16), (8, 12))
    losses = model(images, texts(), *objects(images, *counts))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert model.no_object_embed.grad.any()


def test_forward_with_one_class():
    model, images = system(), random_images((16, 16))
    losses = model(images, texts(1), [torch.zeros(2).long()], [torch.rand(2, 16, 16) > 0.5])
    assert losses["loss_ce"].item() > 0
    sum(losses.values()).backward()
    assert model.no_object_embed.grad.any()


def test_forward_with_several_words_a_class():
    model, images, class_texts = system(), random_images((16, 16)), texts(5)
    ids, masks = [torch.tensor([1])], [torch.rand(1, 16, 16) > 0.5]
    class_ids = torch.tensor([0, 1, 1, 2, 3])
    losses = model(images, replace(class_texts, class_ids=class_ids), ids, masks)
    assert losses["loss_ce"].isfinite()
    with pytest.raises(ValueError, match="there are 4 classes"):
        model(images, replace(class_texts, class_ids=class_ids), [torch.tensor([4])], masks)


def test_training_learns_two_stripes():
    """Left and right of one image, by their class_texts, in a few steps."""
    model, class_texts = system(), ClassTexts(torch.eye(EMBED_DIM)[:2])
    left = torch.zeros(16, 16, dtype=torch.bool)
    left[:, :8] = True
    image = torch.where(left, 220.0, 30.0).expand(3, 16, 16)
    masks = torch.stack([left, ~left])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(45):
        loss = sum(model([image], class_texts, [torch.tensor([1, 0])], [masks]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    labels = model.segment([image], class_texts)[0]
    assert (labels == left.long()).float().mean() > 0.95


# --- parts ---


def test_in_features_orders_the_maps():
    named = system(Pyramid(named=True), in_features=("fine", "coarse"))
    plain = system()
    plain.load_state_dict(named.state_dict())
    image, class_texts = random_images((16, 16)), texts()
    assert torch.equal(named.segment(image, class_texts)[0], plain.segment(image, class_texts)[0])


def test_timm_backbone_trains_and_segments():
    network: TimmFeatures = build_timm_features("test_resnet")
    model = system(network, network.channels, size_divisibility=network.size_divisibility)
    images = random_images((40, 33), (32, 50))
    ids, masks = objects(images, 2, 1)
    assert all(loss.isfinite() for loss in model(images, texts(), ids, masks).values())
    assert [tuple(e.shape) for e in model.segment(images, texts())] == [
        (40, 33),
        (32, 50),
    ]


def test_state_dict_round_trip():
    first, second = system(), system()
    image, class_texts = random_images((16, 16)), texts()
    assert "no_object_embed" in first.state_dict()
    assert not any("mean" in key or "std" in key for key in first.state_dict())
    second.load_state_dict(first.state_dict())
    assert torch.equal(
        first.score_pixels(image, class_texts)[0],
        second.score_pixels(image, class_texts)[0],
    )


# --- what it refuses ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, i: m.segment(i, ClassTexts(torch.eye(5))),
            r"\(5, 5\), and the joint embedding has D = 6",
        ),
        (
            lambda m, i: m.segment(i, ClassTexts(torch.zeros(0, 6))),
            r"embeds have shape \(0, 6\)",
        ),
        (lambda m, i: m.segment([i[0][:1]], texts()), "images hold one of shape"),
        (lambda m, i: m.segment(i, texts(), [(4, 4)] * 2), "2 sizes for 1 images"),
        (
            lambda m, i: m(i, texts(), [torch.tensor([0])], [torch.zeros(1, 9, 9) > 0]),
            r"gt_masks of shape \(1, 9, 9\) for an image of \(8, 12\)",
        ),
        (lambda m, i: m(i, texts(), [], []), "0 gt_ids and 0 gt_masks for 1 images"),
    ],
)
def test_refuses_bad_input(call: Callable[..., Any], message: str):
    with pytest.raises(ValueError, match=message):
        call(system(), random_images((8, 12)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_divisibility": 0}, "size_divisibility=0"),
        ({"logit_scale": 0.0}, "logit_scale=0.0"),
        ({"mean": (0.5,)}, r"mean=\(0.5,\)"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        OVSegMaskFormer(
            **{
                **{"backbone": Pyramid(), "head": system().head, "embed_dim": EMBED_DIM},
                **{"mean": MEAN, "std": STD},
                **options,
            }
        )
