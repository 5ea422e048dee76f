"""PixelCLIP: the loss by loops, the teacher, every ablation, and batches without masks."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, LastBlock, set_trainable
from ovseg_d2.nets import PixelCLIPDecoder
from ovseg_d2.ops import sinkhorn
from ovseg_d2.systems import MaskCLIP, PixelCLIP
from ovseg_d2.text import ClassPrompts, ClassTexts, ClusterVectors

VISION_KINDS = {
    "vit": {},
    "resnet": {"layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 64},
    "convnext": {
        "timm_model_name": "test_convnext",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 64,
    },
}
IMAGE_SIZE = {"vit": 32, "resnet": 64, "convnext": 64}

Build = Callable[..., PixelCLIP]


@pytest.fixture
def build(tiny_clip_config: dict[str, Any]) -> Build:
    """Give a function that builds the same tiny system each time, but for its options."""

    def build(kind: str = "vit", policy: str | None = None, **options: Any) -> PixelCLIP:
        torch.manual_seed(1)
        vision = tiny_clip_config["vision_cfg"] | VISION_KINDS[kind]
        model = open_clip.CLIP(**(tiny_clip_config | {"vision_cfg": vision}))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            model.token_embedding.weight.normal_()
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean, std)
        set_trainable(tower, policy or ("full" if kind == "convnext" else "attention"))
        clusters = options.pop("clusters", lambda t: ClassPrompts(t, num_clusters=5, length=2))
        return PixelCLIP(
            tower,
            clusters=clusters and clusters(tower),
            decoder=PixelCLIPDecoder(channels=(16, 16)),
            **({"mask_size": (16, 16)} | options),
        )

    return build


def batch(size: int = 32, counts: tuple[int, ...] = (3, 4)) -> tuple[torch.Tensor, list]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (len(counts), 3, size, size), generator=generator).float()
    masks = [torch.rand(n, size // 8, size // 8, generator=generator) > 0.6 for n in counts]
    return images, [m.repeat_interleave(8, 1).repeat_interleave(8, 2) for m in masks]


def trainable(system: PixelCLIP) -> dict[str, nn.Parameter]:
    return {name: value for name, value in system.named_parameters() if value.requires_grad}


def test_forward_equals_loops(build: Build) -> None:
    """At pixels, image by image and mask by mask, as the paper tells it."""
    system = build(momentum=0.9, epsilon=0.02)
    images, masks = batch()
    with torch.no_grad():
        for value in system.teacher.parameters():
            value.add_(0.02 * torch.randn_like(value))
    teacher = copy.deepcopy(system.teacher.state_dict())
    student = system.tower.model.visual.state_dict()
    strong = images.flip(-1)
    loss = system(images, masks, strong)["loss_mask"]

    moved = {name: 0.9 * value + 0.1 * student[name] for name, value in teacher.items()}
    for name, value in system.teacher.state_dict().items():
        torch.testing.assert_close(value, moved[name])
    tower = copy.deepcopy(system.tower)
    last_block = LastBlock(residual="class_token")
    student_feats = tower.dense_feats(tower.normalize(strong), last_block)
    tower.model.visual.load_state_dict(moved)
    teacher_feats = tower.dense_feats(tower.normalize(images), last_block)
    at_pixels = F.interpolate(teacher_feats, (16, 16), mode="bilinear", align_corners=False)
    small = [m[:, ::2, ::2] for m in masks]  # 32 pixels to 16, the nearest
    clusters = system.clusters(system.tower)
    mask_feats = [at_pixels[i][:, m].mean(dim=1) for i in range(2) for m in small[i]]
    cosines = torch.stack([F.cosine_similarity(f[None], clusters) for f in mask_feats])
    ids = iter(sinkhorn(cosines, epsilon=0.02).argmax(dim=1).tolist())
    terms = []
    for i in range(2):
        targets = torch.zeros(5, 16, 16)
        for mask in small[i]:
            targets[next(ids)][mask] = 1
        covered = small[i].any(dim=0)
        for p in range(5):
            similarity = F.cosine_similarity(student_feats[i], clusters[p][:, None, None], dim=0)
            logits = system.decoder(similarity, (16, 16))
            result = F.binary_cross_entropy_with_logits(logits, targets[p], reduction="none")
            terms.append(result[covered])
    expected = torch.cat(terms).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_statistics_of_a_step(build: Build) -> None:
    system = build()
    assert system.statistics is None
    images, masks = batch()
    masks[0][1] = False  # nothing left of it
    loss = system(images, masks)["loss_mask"]
    result = system.statistics
    assert result.loss.item() == loss.item()
    assert not result.loss.requires_grad
    assert result.image_ids.tolist() == [0, 0, 1, 1, 1, 1]
    assert (
        result.assignment.counts.tolist()
        == torch.bincount(result.assignment.cluster_ids, minlength=5).tolist()
    )
    in_use = len(set(result.assignment.cluster_ids.tolist()))
    assert result.numbers() == {
        "loss_mask": loss.item(),
        "masks": 6,
        "clusters_in_use": in_use,
        "assignment_entropy": result.assignment.entropy.item(),
    }


@pytest.mark.parametrize("kind", VISION_KINDS)
def test_forward_gives_trained_parameters_gradients(build: Build, kind: str) -> None:
    system = build(kind)
    system(*batch(IMAGE_SIZE[kind]))["loss_mask"].backward()
    for name, value in system.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and value.grad.any(), name
        else:
            assert value.grad is None, name
    assert all(name.startswith(("tower", "clusters", "decoder")) for name in trainable(system))
    assert not any(value.requires_grad for value in system.teacher.parameters())


@pytest.mark.parametrize("kind", VISION_KINDS)
def test_training_lowers_the_loss(build: Build, kind: str) -> None:
    system = build(kind)
    optimizer = torch.optim.AdamW(trainable(system).values(), lr=0.01)
    losses = []
    for _ in range(8):
        loss = system(*batch(IMAGE_SIZE[kind]))["loss_mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


# --- batches without masks ---


def test_forward_with_an_image_without_masks(build: Build) -> None:
    images, masks = batch()
    alone = build()(images, masks)["loss_mask"]
    more = torch.cat([images[:1], 255 - images[:1], images[1:]])
    empty = torch.zeros(0, 32, 32, dtype=torch.bool)
    with_empty = build()(more, [masks[0], empty, masks[1]])["loss_mask"]
    torch.testing.assert_close(with_empty, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clusters", [True, False])
@pytest.mark.parametrize("kind", VISION_KINDS)
def test_forward_without_masks_has_zero_gradients(build: Build, kind: str, clusters: bool) -> None:
    system = build(kind) if clusters else build(kind, clusters=None)
    images, _ = batch(IMAGE_SIZE[kind])
    for masks in (torch.zeros(0, *images.shape[2:]), torch.zeros(2, *images.shape[2:])):
        system.zero_grad()
        loss = system(images, [masks.bool(), masks.bool()])["loss_mask"]
        loss.backward()
        assert loss.item() == 0
        for name, value in trainable(system).items():
            assert value.grad is not None and not value.grad.any(), name
    assert system.statistics.numbers()["masks"] == 0


def test_forward_with_fewer_masks_than_clusters(build: Build) -> None:
    system = build(clusters=lambda t: ClassPrompts(t, num_clusters=40, length=1))
    assert torch.isfinite(system(*batch(counts=(1, 0)))["loss_mask"])
    assert system.statistics.numbers()["clusters_in_use"] == 1


def test_queue_joins_the_assignment(build: Build) -> None:
    system, alone = build(queue_size=5, epsilon=0.05), build(epsilon=0.05)
    first, second = batch(counts=(3, 1)), batch(counts=(2, 2))
    system(*first), alone(*first)
    earlier = system.queue.vectors.clone()
    assert len(earlier) == 4
    system(*second), alone(*second)
    with torch.no_grad():
        feats = F.normalize(system.queue.vectors[:4], dim=1)
        clusters = F.normalize(system.clusters(system.tower), dim=1)
    joined = sinkhorn(torch.cat([feats, earlier]) @ clusters.t(), epsilon=0.05)
    torch.testing.assert_close(system.statistics.assignment.probs, joined[:4])
    assert not torch.allclose(alone.statistics.assignment.probs, joined[:4], atol=1e-3)
    # The oldest are lost, evaluation remembers nothing, checkpoints hold what there is.
    assert torch.equal(system.queue.vectors[4:], earlier[:1])
    kept = system.queue.vectors.clone()
    system.eval()(*first)
    again = build(queue_size=5)
    again.load_state_dict(system.state_dict())
    assert torch.equal(again.queue.vectors, kept)


# --- the teacher ---


def test_teacher_follows_in_training_and_is_saved(build: Build) -> None:
    system = build(momentum=0.5)
    batch_ = batch()
    with torch.no_grad():
        system.tower.model.visual.conv1.weight.add_(1)
    before = system.teacher.conv1.weight.clone()
    system.eval()(*batch_)
    assert torch.equal(system.teacher.conv1.weight, before)
    system.train()(*batch_)
    torch.testing.assert_close(system.teacher.conv1.weight, before + 0.5)
    state = copy.deepcopy(system.state_dict())
    again = build(momentum=0.5)
    again.load_state_dict(state)
    assert torch.equal(again.teacher.conv1.weight, system.teacher.conv1.weight)
    # Resumed, it goes on to the last bit.
    losses = [model(*batch_)["loss_mask"].item() for model in (system, again)]
    assert losses[0] == losses[1]


def test_load_state_dict_without_a_teacher_starts_one(build: Build) -> None:
    system, other = build(), build()
    with torch.no_grad():
        for value in other.parameters():
            value.add_(0.1)
    state = {k: v for k, v in other.state_dict().items() if not k.startswith("teacher.")}
    outer = nn.ModuleDict({"system": system})  # as inside an adapter
    outer.load_state_dict({f"system.{key}": value for key, value in state.items()})
    for name, value in system.teacher.state_dict().items():
        assert torch.equal(value, other.tower.model.visual.state_dict()[name])


def test_train_keeps_teacher_and_batch_norms_in_eval(build: Build) -> None:
    system = build("resnet").train()
    assert system.training
    assert system.decoder.training
    assert not any(module.training for module in system.teacher.modules())
    norms = [m for m in system.tower.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = norms[0].running_mean.clone()
    norms[0].running_var.fill_(2.0)  # a buffer that changed is the teacher's too
    system(*batch(64))
    assert torch.equal(norms[0].running_mean, before)
    assert (system.teacher.bn1.running_var == 2).all()


# --- ablations ---

ABLATIONS: dict[str, dict[str, Any]] = {
    "no clustering": {"clusters": None},
    "without the text encoder": {
        "clusters": lambda t: ClusterVectors(torch.randn(5, 32), learnable=True)
    },
    "names that are not learnt": {
        "clusters": lambda t: ClassPrompts(t, num_clusters=5, length=2, learnable=False)
    },
    "no prompt around the names": {
        "clusters": lambda t: ClassPrompts(t, num_clusters=5, length=2, templates="bare")
    },
    "fixed class names": {
        "clusters": lambda t: ClusterVectors(
            t.encode_text(t.tokenize(["grass", "sand", "sky", "star", "ring"])), learnable=False
        )
    },
    "several templates": {
        "clusters": lambda t: ClassPrompts(t, num_clusters=5, length=2, templates="pixelclip")
    },
    "k": {"clusters": lambda t: ClassPrompts(t, num_clusters=3, length=2)},
    "l": {"clusters": lambda t: ClassPrompts(t, num_clusters=5, length=1)},
    "no momentum encoder": {"momentum": 0.0},
    "another momentum": {"momentum": 0.5},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_change_the_loss(build: Build, name: str) -> None:
    losses = []
    for options in ({}, ABLATIONS[name]):
        system = build(**({"epsilon": 1.0} | options))
        # Student and teacher are apart.
        with torch.no_grad():
            system.tower.model.visual.conv1.weight.add_(
                torch.randn_like(system.tower.model.visual.conv1.weight)
            )
        loss = system(*batch())["loss_mask"]
        loss.backward()
        losses.append((loss.item(), system.statistics.assignment))
        learnt = {n for n in trainable(system) if n.startswith("clusters")}
        if name in ("names that are not learnt", "fixed class names", "no clustering"):
            assert (learnt == set()) == bool(options)
        assert (system.teacher is None) == (system.momentum == 0)
        assert all(value.grad is not None for value in trainable(system).values())
    if name == "names that are not learnt":
        assert losses[0][0] == losses[1][0]  # it differs from the second step on
    elif "momentum" in name:
        # They differ in what the masks' features are, and so in Q.
        assert not torch.equal(losses[0][1].probs, losses[1][1].probs)
    else:
        assert abs(losses[0][0] - losses[1][0]) > 1e-5


def test_forward_without_clusters_equals_loops(build: Build) -> None:
    system = build(clusters=None)
    images, masks = batch()
    loss = system(images, masks)["loss_mask"]
    feats = system.tower.dense_feats(
        system.tower.normalize(images), LastBlock(residual="class_token")
    )
    at_pixels = F.interpolate(feats, (16, 16), mode="bilinear", align_corners=False).detach()
    terms = []
    for i, image_masks in enumerate(masks):
        small = image_masks[:, ::2, ::2]
        for mask in small:
            mask_feat = at_pixels[i][:, mask].mean(dim=1)
            similarity = F.cosine_similarity(feats[i], mask_feat[:, None, None], dim=0)
            logits = system.decoder(similarity, (16, 16))
            result = F.binary_cross_entropy_with_logits(logits, mask.float(), reduction="none")
            terms.append(result[small.any(dim=0)])
    assert loss.item() == pytest.approx(torch.cat(terms).mean().item(), rel=1e-4)
    assert system.statistics.assignment is None
    assert set(system.statistics.numbers()) == {"loss_mask", "masks"}


def test_momentum_0_pools_by_the_student(build: Build) -> None:
    """As a teacher that has become the student's copy."""
    batch_ = batch()
    follower = build(momentum=1e-12)
    with torch.no_grad():
        follower.teacher.conv1.weight.zero_()
    follower(*batch_)
    plain = build(momentum=0.0)
    plain(*batch_)
    torch.testing.assert_close(
        follower.statistics.assignment.probs, plain.statistics.assignment.probs
    )
    assert not any(key.startswith("teacher") for key in plain.state_dict())


# --- at rest ---


def test_inference_is_maskclip_on_the_student(build: Build) -> None:
    system = build()
    images = batch()[0]
    texts = ClassTexts(F.normalize(torch.randn(4, 32), dim=1))
    plain = MaskCLIP(system.tower, last_block=LastBlock(residual="class_token"))
    scores = system.inference().score_pixels(images, texts, (20, 31))
    assert torch.equal(scores, plain.score_pixels(images, texts, (20, 31)))
    labels = system.inference().segment(images, texts)
    assert torch.equal(labels, plain.segment(images, texts))


def test_inference_resizes_images(build: Build) -> None:
    system = build(image_size=(48, 40))
    images = [torch.rand(3, 30, 50) * 255, torch.randint(0, 256, (3, 64, 20), dtype=torch.uint8)]
    texts = ClassTexts(F.normalize(torch.randn(4, 32), dim=1))
    labels = system.inference().segment(images, texts)
    assert [tuple(result.shape) for result in labels] == [(30, 50), (64, 20)]
    plain = MaskCLIP(system.tower, last_block=LastBlock(residual="class_token"))
    for image, image_labels in zip(images, labels, strict=True):
        squashed = F.interpolate(image[None].float(), (48, 40), mode="bilinear")
        expected = plain.segment(squashed, texts, (image.shape[1], image.shape[2]))
        assert torch.equal(image_labels, expected[0])
    # The release's way answers for words and background too.
    official = build(image_size=(48, 40), official=True).inference()
    rows = official.score_pixels(
        images, replace(texts, class_ids=torch.tensor([0, 0, 1, 2]), background_ids=[0, 2])
    )
    assert [tuple(result.shape) for result in rows] == [(3, 30, 50), (3, 64, 20)]
    assert (rows[0][2] == -torch.inf).all()


def test_official_drops_pixels_that_fill_no_patch(build: Build) -> None:
    texts = ClassTexts(F.normalize(torch.randn(4, 32), dim=1))
    images = torch.rand(2, 3, 37, 46) * 255
    system = build(official=True)
    changed = images.clone()
    changed[..., 32:, :] = 0
    changed[..., 40:] = 0
    scores = system.inference().score_pixels(images, texts)
    assert torch.equal(scores, system.inference().score_pixels(changed, texts))
    # The features of the whole patches cover the image.
    whole = system.inference().score_pixels(images[..., :32, :40], texts, (37, 46))
    assert torch.equal(scores, whole)
    ours = build().inference()
    assert not torch.equal(ours.score_pixels(images, texts), ours.score_pixels(changed, texts))
    with pytest.raises(ValueError, match="7x46 pixels are smaller than a patch of 8x8; enlarge"):
        system.inference().score_pixels(images[..., :7, :], texts)


def test_official_trains_at_sizes_that_are_not_whole_patches(build: Build) -> None:
    images, _ = batch(50)
    masks = [torch.rand(n, 50, 50) > 0.5 for n in (2, 1)]
    system = build(official=True, image_size=(37, 46))
    seen = []
    system.tower.model.visual.conv1.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    system(images, masks)["loss_mask"].backward()
    resized = F.interpolate(images, (37, 46), mode="bilinear", align_corners=False)
    torch.testing.assert_close(seen[0], system.tower.normalize(resized[..., :32, :40]))


def test_predict_masks(build: Build) -> None:
    system = build()
    images, _ = batch()
    logits = system.predict_masks(images)
    assert logits.shape == (2, 5, 16, 16)
    assert not logits.requires_grad
    with pytest.raises(ValueError, match="clusters is None; give clusters"):
        build(clusters=None).predict_masks(images)


def test_forward_encodes_images_at_image_size(build: Build) -> None:
    """Any aspect ratio, and sizes that are no whole patches before."""
    system = build(image_size=(32, 48))
    images = torch.randint(0, 256, (2, 3, 50, 37))
    masks = [torch.rand(n, 50, 37) > 0.5 for n in (2, 1)]
    seen = []
    system.tower.model.visual.conv1.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape))
    assert torch.isfinite(system(images, masks)["loss_mask"])
    assert seen == [(2, 3, 32, 48)]


def test_last_block_depends_on_the_tower(build: Build) -> None:
    assert build().last_block == LastBlock(residual="class_token")
    assert build("resnet").last_block == build("convnext").last_block == LastBlock()
    assert build(last_block=LastBlock()).last_block == LastBlock()


def test_forward_under_autocast(build: Build) -> None:
    system = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = system(*batch())["loss_mask"]
    loss.backward()
    assert loss.dtype == system.statistics.assignment.probs.dtype == torch.float32
    full = build()(*batch())["loss_mask"]
    assert loss.item() == pytest.approx(full.item(), rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        (
            {"image_size": (32, 30)},
            r"images of \(32, 30\) pixels are not whole patches of \(8, 8\)",
        ),
    ],
)
def test_refuses_options(build: Build, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_refuses_batches(build: Build) -> None:
    system = build()
    images, masks = batch()
    with pytest.raises(ValueError, match="masks for 1 images"):
        system(images, masks[:1])
    with pytest.raises(ValueError, match="give two views of one shape"):
        system(images, masks, images[..., :24])
    with pytest.raises(ValueError, match="of the image's own size"):
        system(images, [masks[0], masks[1][:, :30]])
    with pytest.raises(ValueError, match="of the image's own size"):
        system(images, [masks[0], masks[1][0]])
    with pytest.raises(ValueError, match="choose image_size in whole patches"):
        system(images[..., :30], [m[..., :30] for m in masks])
