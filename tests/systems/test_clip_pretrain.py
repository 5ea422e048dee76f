"""CLIPPretrain: the loss of a batch, which captions are encoded, and the bound of the scale."""

import math

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.clip import CLIPTower
from ovseg_d2.losses import contrastive_loss
from ovseg_d2.systems import CLIPPretrain


def images_of(count: int, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size)).float()


def loss_by_loops(tower: CLIPTower, images: torch.Tensor, captions: list[str]) -> float:
    """Each image against all different captions of the batch, and the other way round."""
    with torch.no_grad():
        image_embeds = tower.encode_image(tower.normalize(images))
        text_embeds = torch.cat([tower.encode_text(tower.tokenize([c])) for c in captions])
        cosines = image_embeds @ text_embeds.t() * tower.logit_scale
    total = 0.0
    for logits in (cosines, cosines.t()):
        for i in range(len(captions)):
            kept = [j for j in range(len(captions)) if j == i or captions[j] != captions[i]]
            total += float(torch.logsumexp(logits[i, kept], dim=0) - logits[i, i])
    return total / (2 * len(captions))


@pytest.mark.parametrize(
    "captions",
    [
        ["a red star", "grass", "a blue ring on sand"],
        ["grass", "a red star", "grass"],
        ["grass", "grass", "grass"],
    ],
)
def test_forward_equals_loops(tower: CLIPTower, captions: list[str]) -> None:
    images = images_of(3)
    losses = CLIPPretrain(tower)(images, [[caption] for caption in captions])
    assert list(losses) == ["loss_contrastive"]
    loss = losses["loss_contrastive"]
    assert loss.shape == ()
    assert loss.item() == pytest.approx(loss_by_loops(tower, images, captions), abs=1e-5)


def test_forward_with_several_captions(tower: CLIPTower) -> None:
    images = images_of(2)
    captions = [["grass", "a red star", "sand"], ["water", "grass", "sand"]]
    loss = CLIPPretrain(tower)(images, captions)["loss_contrastive"].item()
    with torch.no_grad():
        image_embeds = tower.encode_image(tower.normalize(images))
        texts = torch.stack([tower.encode_text(tower.tokenize(row)) for row in captions])
    ids = torch.tensor([[0, 1, 2], [3, 0, 2]])
    expected = contrastive_loss(image_embeds, texts, tower.logit_scale, ids)
    assert loss == pytest.approx(expected.item(), abs=1e-5)


def test_forward_takes_equal_tokens_for_equal_texts(tower: CLIPTower) -> None:
    loss = CLIPPretrain(tower)(images_of(2), [["Grass"], ["  grass "]])["loss_contrastive"]
    assert loss.item() == 0


def test_forward_encodes_each_text_once(tower: CLIPTower, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    encode_text = tower.encode_text

    def encode(token_ids: torch.Tensor) -> torch.Tensor:
        batches.append(len(token_ids))
        return encode_text(token_ids)

    monkeypatch.setattr(tower, "encode_text", encode)
    CLIPPretrain(tower)(images_of(3), [["grass", "sand"], ["sand", "grass"], ["grass", "a star"]])
    assert batches == [3]


def test_forward_trains_both_towers_and_the_scale(tower: CLIPTower) -> None:
    model = CLIPPretrain(tower)
    model(images_of(3), [["grass"], ["sand"], ["grass"]])["loss_contrastive"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name in ("visual.conv1.weight", "token_embedding.weight", "text_projection", "logit_scale"):
        assert tower.model.get_parameter(name).grad.abs().sum() > 0, name


def test_forward_gradients_are_deterministic(tower: CLIPTower) -> None:
    """Texts that many images share: their gradients are added in one order, to the last bit."""
    words = [f"a {colour} {shape}" for colour in ("red", "blue") for shape in ("star", "ring")]
    images = images_of(64)
    captions = [[words[i % 4], *words] * 12 for i in range(64)]
    wrong = [words[: i % 3] for i in range(64)]
    weight = tower.model.text_projection
    runs = []
    for _ in range(8):
        loss = CLIPPretrain(tower)(images, captions, wrong)["loss_contrastive"]
        runs.append(torch.autograd.grad(loss, weight)[0])
    assert all(torch.equal(grad, runs[0]) for grad in runs)


@pytest.mark.parametrize(("before", "after"), [(9.0, math.log(100)), (2.0, 2.0)])
def test_logit_scale_is_at_most_100(tower: CLIPTower, before: float, after: float) -> None:
    model = CLIPPretrain(tower)
    tower.model.logit_scale.data.fill_(before)
    model(images_of(2), [["grass"], ["sand"]])["loss_contrastive"].backward()
    assert tower.model.logit_scale.item() == pytest.approx(after, abs=1e-6)
    assert tower.logit_scale.item() <= 100 * (1 + 1e-6)
    # The bound is no end: the scale still learns, and may come back below it.
    assert tower.model.logit_scale.grad.abs() > 0


def test_max_logit_scale_is_an_option(tower: CLIPTower) -> None:
    tower.model.logit_scale.data.fill_(9.0)
    CLIPPretrain(tower, max_logit_scale=20.0).clamp_logit_scale()
    assert tower.logit_scale.item() == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_refuses_max_logit_scale(tower: CLIPTower, bound: float) -> None:
    with pytest.raises(ValueError, match=f"max_logit_scale={bound}; give a positive factor"):
        CLIPPretrain(tower, max_logit_scale=bound)


@pytest.mark.parametrize("captions", [[["a"]], [["a"], ["b", "c"]], [[], []], []])
def test_forward_refuses_captions(tower: CLIPTower, captions: list) -> None:
    with pytest.raises(ValueError, match="for 2 images; give each image a list, all of the same"):
        CLIPPretrain(tower)(images_of(2), captions)


def test_forward_names_a_caption_that_is_too_long(tower: CLIPTower) -> None:
    with pytest.raises(ValueError, match="star star .*shorten it"):
        CLIPPretrain(tower)(images_of(2), [["grass"], ["star " * 100]])


def test_training_aligns_images_and_captions(tower: CLIPTower) -> None:
    model = CLIPPretrain(tower)
    images = torch.zeros(4, 3, 16, 16)
    images[1], images[2, 0], images[3, 1] = 255, 255, 255
    captions = ["black", "white", "red", "green"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        loss = model(images, [[caption] for caption in captions])["loss_contrastive"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        image_embeds = tower.encode_image(tower.normalize(images))
        text_embeds = tower.encode_text(tower.tokenize(captions))
    assert (image_embeds @ text_embeds.t()).argmax(dim=1).tolist() == [0, 1, 2, 3]
    assert F.mse_loss(image_embeds.norm(dim=1), torch.ones(4)) < 1e-6


def test_wrong_captions_are_negatives_of_their_image(tower: CLIPTower) -> None:
    system = CLIPPretrain(tower)
    images = 255 * torch.rand(2, 3, 32, 32)
    wrong = [["red ring", "red cross"], []]
    loss = system(images, [["red star"], ["grass"]], wrong)["loss_contrastive"].item()
    image_embeds = tower.encode_image(tower.normalize(images))
    texts = ["red star", "grass", "red ring", "red cross"]
    logits = tower.logit_scale * image_embeds @ tower.encode_text(tower.tokenize(texts)).t()
    first = F.cross_entropy(logits[:1], torch.tensor([0]))
    second = F.cross_entropy(logits[1:, :2], torch.tensor([1]))
    columns = F.cross_entropy(logits[:, :2].t(), torch.tensor([0, 1]))
    assert loss == pytest.approx((0.5 * ((first + second) / 2 + columns)).item(), rel=1e-5)


def test_attention_only_encodes_a_share_of_the_batch(tower: CLIPTower) -> None:
    images = 255 * torch.rand(4, 3, 32, 32)
    captions = [[text] for text in ("red star", "grass", "sand", "blue dots")]
    normalized = tower.normalize(images)
    alone = torch.tensor([True, True, False, False])
    embeds = tower.encode_image(normalized, attention_only=alone)
    torch.testing.assert_close(embeds[2:], tower.encode_image(normalized)[2:])
    assert not torch.allclose(embeds[:2], tower.encode_image(normalized)[:2], atol=1e-3)
    text_embeds = tower.encode_text(tower.tokenize([text for (text,) in captions]))
    expected = contrastive_loss(embeds, text_embeds, tower.logit_scale)
    loss = CLIPPretrain(tower, attention_only=0.5)(images, captions)["loss_contrastive"]
    torch.testing.assert_close(loss, expected)
    with pytest.raises(ValueError, match=r"attention_only=1\.5"):
        CLIPPretrain(tower, attention_only=1.5)
