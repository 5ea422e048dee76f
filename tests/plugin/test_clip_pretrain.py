"""CLIPPretrain through detectron2: losses in training, segmentations in evaluation."""

import math

import pytest
import torch

from ovseg_d2.d2.modeling import META_ARCH_REGISTRY
from ovseg_d2.plugin import CLIPPretrain, MaskCLIP


@pytest.fixture
def model(build):
    return build("MODEL.META_ARCHITECTURE", "CLIPPretrain")


def batch(sizes=((16, 16), (16, 16))):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator),
            "drawn_captions": [f"caption {number}"],
            "classes": "red, green",
        }
        for number, size in enumerate(sizes)
    ]


def test_clip_pretrain_is_registered_and_trains_fully(model):
    assert META_ARCH_REGISTRY.get("CLIPPretrain") is CLIPPretrain
    assert type(model) is CLIPPretrain
    assert all(p.requires_grad for p in model.parameters())


def test_training_gives_the_contrastive_loss(model):
    model.train()
    losses = model(batch())
    assert list(losses) == ["loss_contrastive"]
    system = model.system
    images = torch.stack([sample["image"] for sample in batch()]).float()
    expected = system(images, [["caption 0"], ["caption 1"]])["loss_contrastive"]
    torch.testing.assert_close(losses["loss_contrastive"], expected)
    losses["loss_contrastive"].backward()
    for name in ("visual.conv1.weight", "token_embedding.weight", "logit_scale"):
        gradient = system.tower.model.get_parameter(name).grad
        assert gradient is not None and gradient.abs().sum() > 0, name


def test_training_follows_input_format(model, build):
    bgr = build("MODEL.META_ARCHITECTURE", "CLIPPretrain", "INPUT.FORMAT", "BGR").train()
    swapped = [{**sample, "image": sample["image"].flip(0)} for sample in batch()]
    torch.testing.assert_close(bgr(swapped), model.train()(batch()))


def test_training_images_that_differ_in_size_are_resized(model, build, caplog):
    model.train()
    seen = []
    model.system.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with caplog.at_level("INFO"):
        assert torch.isfinite(model(batch(((16, 16), (8, 16))))["loss_contrastive"])
        model(batch(((40, 64), (40, 64))))  # larger than CLIP's own
    assert [tuple(images.shape) for images in seen] == [(2, 3, 32, 32)] * 2
    assert 0 <= seen[0].min() and seen[0].max() <= 255
    assert caplog.text.count("are resized to that; INPUT.CAPTION_CROP.SIZE names another") == 1
    crops = ("INPUT.CAPTION_CROP.SIZE", "[16, 16]")
    cropped = build("MODEL.META_ARCHITECTURE", "CLIPPretrain", *crops).train()
    with pytest.raises(ValueError, match="must be of one size, got "):
        cropped(batch(((16, 16), (8, 16))))


def test_training_refuses_images_without_captions(model):
    (sample, other) = batch()
    del other["drawn_captions"]
    with pytest.raises(ValueError, match="without captions; set INPUT.TRAIN_MAPPER to captions"):
        model.train()([sample, {**other, "file_name": "a.jpg"}])


def test_evaluation_is_maskclip_on_current_weights(model, build):
    maskclip = build()  # the same seed, hence the same weights
    assert type(maskclip) is MaskCLIP
    inputs = batch(((16, 24), (8, 8)))
    for own, theirs in zip(model(inputs), maskclip(inputs), strict=True):
        torch.testing.assert_close(own["sem_seg"], theirs["sem_seg"])
    labels = model.segment(inputs)
    assert torch.equal(labels[0], model(inputs)[0]["sem_seg"].argmax(dim=0))


def test_texts_are_encoded_again_after_a_step(model):
    inputs = batch()
    before = model(inputs)[0]["sem_seg"]
    frozen_images = model.system.tower.model.visual.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()
    model(inputs)["loss_contrastive"].backward()
    optimizer.step()
    model.eval()
    assert all(p.grad is None for p in frozen_images.parameters())
    assert not torch.allclose(model(inputs)[0]["sem_seg"], before)


def test_patch_dropout_is_for_training_only(build):
    model = build("MODEL.META_ARCHITECTURE", "CLIPPretrain", "MODEL.CLIP.PATCH_DROPOUT", "0.5")
    inputs = batch(((32, 32), (32, 32)))
    assert torch.equal(model(inputs)[0]["sem_seg"], model(inputs)[0]["sem_seg"])
    model.train()
    assert model(inputs)["loss_contrastive"] != model(inputs)["loss_contrastive"]


def test_logit_scale_is_bounded_by_max_logit_scale(build):
    model = build(
        *("MODEL.META_ARCHITECTURE", "CLIPPretrain"),
        *("MODEL.CLIP_PRETRAIN.MAX_LOGIT_SCALE", "5.0"),
    ).train()
    model(batch())
    assert model.system.tower.model.logit_scale.item() == pytest.approx(math.log(5))
