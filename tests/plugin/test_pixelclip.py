"""PixelCLIP through detectron2: options, training, logs, weights and scores."""

import copy
import logging
import re

import numpy as np
import pytest
import torch

from ovseg_d2.clip import LastBlock
from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_model
from ovseg_d2.d2.utils.events import EventStorage
from ovseg_d2.engine import build_optimizer
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.plugin import MaskCLIP, OVSegPixelCLIPClusterHead, PixelCLIP
from ovseg_d2.text import ClassPrompts, ClusterVectors
from ovseg_d2.vocab import load_vocabulary

OPTS = (
    *("MODEL.META_ARCHITECTURE", "PixelCLIP"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegPixelCLIPClusterHead"),
    *("MODEL.PIXELCLIP.CLUSTERS", "5", "MODEL.PIXELCLIP.PROMPT_LENGTH", "2"),
    *("MODEL.PIXELCLIP.MASK_SIZE", "[16, 16]", "MODEL.PIXELCLIP.DECODER_CHANNELS", "[16, 16]"),
)


@pytest.fixture
def pixelclip(build):
    """Give a function from further keys and values to a tiny PixelCLIP in evaluation mode."""
    return lambda *opts: build(*OPTS, *opts)


def batch(counts=(3, 4), size=(32, 32)):
    generator = torch.Generator().manual_seed(0)
    samples = []
    for count in counts:
        views = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator)
        coarse = torch.rand(count, size[0] // 8, size[1] // 8, generator=generator) > 0.5
        masks = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
        samples.append({"image": views[0], "teacher_image": views[1], "masks": masks})
    return samples


def key(name, value):
    return f"MODEL.PIXELCLIP.{name}", str(value)


# --- options


def test_model_and_head_are_registered(pixelclip):
    assert META_ARCH_REGISTRY.get("PixelCLIP") is PixelCLIP
    assert SEM_SEG_HEADS_REGISTRY.get("OVSegPixelCLIPClusterHead") is OVSegPixelCLIPClusterHead
    model = pixelclip()
    assert type(model) is PixelCLIP
    assert isinstance(model.system.clusters, ClassPrompts)
    assert model.system.clusters.token_embeds.shape == (5, 2, 32)


def test_head_is_built_from_config_shapes_and_tower(tiny_cfg, pixelclip):
    cfg = tiny_cfg(*OPTS)
    tower = pixelclip().system.tower
    head = OVSegPixelCLIPClusterHead(cfg, {"clip_dense": ShapeSpec(channels=32)}, tower=tower)
    assert head.clusters.num_clusters == 5
    assert not any(name.startswith("_tower") for name in head.state_dict())
    with pytest.raises(TypeError, match="tower"):
        SEM_SEG_HEADS_REGISTRY.get(cfg.MODEL.SEM_SEG_HEAD.NAME)(
            cfg, {"clip_dense": ShapeSpec(channels=32)}
        )


def test_head_forward_gives_the_systems_cluster_maps(tiny_cfg, pixelclip):
    system = pixelclip().system
    shape = {"clip_dense": ShapeSpec(channels=32)}
    head = OVSegPixelCLIPClusterHead(tiny_cfg(*OPTS), shape, tower=system.tower)
    head.load_state_dict(system.state_dict(), strict=False)
    images = torch.stack([sample["image"] for sample in batch()]).float()
    features = system.tower.dense_feats(system.tower.normalize(images), system.last_block)
    maps = head(features)
    assert maps.shape == (2, 5, 16, 16)
    torch.testing.assert_close(maps, system.predict_masks(images))
    without = tiny_cfg(*OPTS, *key("CLUSTERING", "none"))
    with pytest.raises(ValueError, match="clusters is None; give clusters, whose maps"):
        OVSegPixelCLIPClusterHead(without, shape, tower=system.tower)(features)


def test_registered_subclass_replaces_the_head(build):
    @SEM_SEG_HEADS_REGISTRY.register()
    class OVSegTestClusterHead(OVSegPixelCLIPClusterHead):
        @classmethod
        def from_config(cls, cfg, input_shape, *, tower):
            parts = super().from_config(cfg, input_shape, tower=tower)
            assert input_shape["clip_dense"] == ShapeSpec(channels=32, stride=8)
            return parts | {"clusters": ClusterVectors(torch.eye(3, 32), learnable=True)}

    model = build(*OPTS, "MODEL.SEM_SEG_HEAD.NAME", "OVSegTestClusterHead")
    assert model.system.clusters.num_clusters == 3 == len(model.masks_lately)


@pytest.mark.parametrize("name", ["SemSegFPNHead", "Nowhere"])
def test_other_heads_are_refused(tiny_cfg, name):
    with pytest.raises(ValueError, match=f"NAME '{name}' is no head of PixelCLIP; set it to OVSeg"):
        build_model(tiny_cfg(*OPTS, "MODEL.SEM_SEG_HEAD.NAME", name))


def test_options_reach_the_plain_system(pixelclip, check_attributes):
    system = pixelclip(
        *key("MOMENTUM", 0.5),
        *key("EPSILON", 0.3),
        *key("SINKHORN_ITERS", 7),
        *key("QUEUE", 9),
        *key("IMAGE_SIZE", [24, 16]),
        *key("OFFICIAL", True),
        *("MODEL.CLIP.LAST_BLOCK.RESIDUAL", "class_token"),
    ).system
    expected = {"momentum": 0.5, "epsilon": 0.3, "num_iters": 7, "mask_size": (16, 16)}
    expected |= {"image_size": (24, 16), "official": True}
    expected |= {"last_block": LastBlock(residual="class_token")}
    check_attributes(system, expected)
    assert len(system.queue.rows) == 9
    assert pixelclip(*key("MOMENTUM", 0.0)).system.teacher is None
    assert pixelclip().system.image_size is None
    assert pixelclip().system.queue is None


def test_clustering_kinds(pixelclip):
    assert pixelclip(*key("CLUSTERING", "none")).system.clusters is None
    vectors = pixelclip(*key("CLUSTERING", "vectors")).system.clusters
    assert isinstance(vectors, ClusterVectors) and vectors.vectors.requires_grad
    assert vectors.vectors.shape == (5, 32)
    fixed = pixelclip(*key("LEARNABLE", False)).system.clusters
    assert not fixed.token_embeds.requires_grad
    several = pixelclip(*key("TEMPLATES", ["a {}", "the {} there"])).system.clusters
    assert several.templates == ("a {}", "the {} there")
    assert pixelclip(*key("TEMPLATES", ["bare"])).system.clusters.templates == ("{}",)


def test_clustering_names_is_fixed(pixelclip):
    listed = pixelclip(*key("CLUSTERING", "names"), *key("CLASS_NAMES", ["red star", "grass"]))
    system = listed.system
    token_ids = system.tower.tokenize(
        [f"a photo of a {name} in the scene" for name in ("red star", "grass")]
    )
    torch.testing.assert_close(system.clusters(system.tower), system.tower.encode_text(token_ids))
    assert not any(p.requires_grad for p in system.clusters.parameters())
    voc = pixelclip(*key("CLUSTERING", "names"), *key("CLASS_NAMES", ["voc20"])).system.clusters
    assert voc.num_clusters == len(load_vocabulary("voc20"))


def test_prompt_words_start_the_prompts(pixelclip):
    system = pixelclip(*key("PROMPT_WORDS", ["red", "star"])).system
    ids = system.tower.tokenize(["red star"])[0, 1:3]
    table = system.tower.embed_tokens(ids[None])[0]
    for row in system.clusters.token_embeds.flatten(0, 1):
        assert any(torch.equal(row, token) for token in table)


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (key("CLUSTERING", "kmeans"), "CLUSTERING is 'kmeans'; it takes one of 'prompts', 'names'"),
        (key("CLUSTERING", "names"), "CLASS_NAMES is empty, and CLUSTERING 'names' needs names"),
        (key("CLUSTERS", 0), "CLUSTERS is 0; it takes a whole number from 1"),
        (key("MASK_SIZE", [16]), r"MASK_SIZE is \[16\]; it takes height and width in pixels"),
        (key("MASK_SIZE", []), r"MASK_SIZE is \[\]; it takes height"),
        (key("IMAGE_SIZE", [32, 0]), r"IMAGE_SIZE is \[32, 0\]; it takes height and width"),
        (key("IMAGE_SIZE", [32, 33]), "not whole patches"),
        (key("TRAINABLE", "attn"), "TRAINABLE is 'attn'; it takes one of 'attention'"),
        (key("MOMENTUM", 1.0), "MOMENTUM is 1.0; it takes a number of at least 0 and below 1"),
        (key("DECODER_CHANNELS", [20, 16]), "channels are"),
    ],
)
def test_bad_values(tiny_cfg, opts, words):
    with pytest.raises(ValueError, match=words):
        build_model(tiny_cfg(*OPTS, *opts))


# --- training


POLICIES = {
    "attention": r"system\.tower\.model\.visual\.(positional_embedding$|.*\.attn\.)",
    "full": r"system\.tower\.model\.visual\.",
    "none": r"$^",
}


@pytest.mark.parametrize("policy", POLICIES)
def test_trainable_policy_selects_trained_parameters(pixelclip, tiny_cfg, policy):
    opts = (*key("TRAINABLE", policy), "SOLVER.BASE_LR", "0.01", "SOLVER.WEIGHT_DECAY", "0.0")
    model = pixelclip(*opts).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = build_optimizer(tiny_cfg(*OPTS, *opts), model)
    model(batch())["loss_mask"].backward()
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    # The teacher followed the student before the step, and was equal to it.
    moved = {name for name in moved if not name.startswith("system.teacher.")}
    of_tower = {name for name in before if re.match(POLICIES[policy], name)}
    others = {name for name in before if name.startswith(("system.clusters.", "system.decoder."))}
    assert len(others) == 21 and bool(of_tower) == (policy != "none")
    assert moved == of_tower | others


def test_loss_is_the_systems_on_both_views(pixelclip):
    model = pixelclip().train()
    system = copy.deepcopy(model.system)
    samples = batch()
    losses = model(samples)
    weak = torch.stack([sample["teacher_image"] for sample in samples]).float()
    strong = torch.stack([sample["image"] for sample in samples]).float()
    torch.testing.assert_close(
        losses, system(weak, [sample["masks"] for sample in samples], strong)
    )
    bgr = pixelclip("INPUT.FORMAT", "BGR").train()
    flipped = [
        {
            **sample,
            "image": sample["image"].flip(0),
            "teacher_image": sample["teacher_image"].flip(0),
        }
        for sample in samples
    ]
    torch.testing.assert_close(bgr(flipped), losses)


def test_missing_teacher_image_is_the_students_image(pixelclip):
    samples = batch()
    same = [{**sample, "teacher_image": sample["image"]} for sample in samples]
    alone = [{k: v for k, v in sample.items() if k != "teacher_image"} for sample in samples]
    model = pixelclip().train()
    torch.testing.assert_close(copy.deepcopy(model)(alone), model(same))


def test_losses_decrease_on_a_fixed_batch(pixelclip, tiny_cfg):
    model = pixelclip().train()
    cfg = tiny_cfg(*OPTS, "SOLVER.BASE_LR", "0.03")
    cfg.SOLVER.LR_MULTIPLIERS = [["system.tower", 0.1], ["system.clusters", 0.5]]
    optimizer = build_optimizer(cfg, model)
    losses = []
    for _ in range(16):
        loss = model(batch())["loss_mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", ["prompts", "vectors", "none"])
def test_batches_with_few_masks_or_none(pixelclip, kind):
    model = pixelclip(*key("CLUSTERING", kind), *key("CLUSTERS", 40)).train()
    some = model(batch(counts=(2, 0)))["loss_mask"]  # k is larger than the number of masks
    assert torch.isfinite(some) and some > 0
    with EventStorage(0) as storage:
        loss = model(batch(counts=(0, 0)))["loss_mask"]
        assert storage.latest()["pixelclip/masks"][0] == 0
    loss.backward()
    assert loss.item() == 0
    for name, value in model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and not value.grad.any(), name


def test_training_refuses_invalid_samples(pixelclip):
    model = pixelclip().train()
    small = [
        {name: value[..., :-3, :-5] for name, value in sample.items() if torch.is_tensor(value)}
        for sample in batch()
    ]
    assert torch.isfinite(model([*batch(), *small])["loss_mask"])
    with pytest.raises(ValueError, match="has 30 x 41 pixels and its 'masks' 24 x 40; give both"):
        model([*batch(), *batch(size=(30, 41))])
    with pytest.raises(ValueError, match="without masks; set INPUT.TRAIN_MAPPER to masks"):
        model([{"image": batch()[0]["image"]}])


# --- logs


@pytest.fixture
def drawings(monkeypatch):
    """Give the list of (iteration, name, image) that storages receive."""
    result = []
    monkeypatch.setattr(
        EventStorage,
        "put_image",
        lambda self, name, image: result.append((self.iter, name, image)),
    )
    return result


def test_numbers_and_drawings_are_stored(pixelclip, drawings):
    model = pixelclip("VIS_PERIOD", "2").train()
    with EventStorage(0) as storage:
        for storage.iter in range(3):
            model(batch(counts=(3, 4)))
        latest = {name: value for name, (value, _) in storage.latest().items()}
    assignment = model.system.statistics.assignment
    assert latest == {
        "pixelclip/masks": 7,
        "pixelclip/clusters_in_use": float((assignment.counts > 0).sum()),
        "pixelclip/assignment_entropy": pytest.approx(assignment.entropy.item()),
    }
    names = [(iteration, name) for iteration, name, _ in drawings]
    assert names == [(i, f"pixelclip/{number}") for i in (0, 2) for number in (0, 1)]
    for _, _, image in drawings:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[0] == 3


def test_nothing_is_drawn_without_clusters(pixelclip, drawings):
    model = pixelclip("VIS_PERIOD", "1", *key("CLUSTERING", "none")).train()
    with EventStorage(0) as storage:
        model(batch())
        assert drawings == [] and set(storage.latest()) == {"pixelclip/masks"}
    assert model.masks_lately is None and model.describe_clusters() == []


def test_drawing_changes_nothing(pixelclip):
    drawn, plain = pixelclip("VIS_PERIOD", "1").train(), pixelclip().train()
    with EventStorage(0):
        for _ in range(2):
            torch.testing.assert_close(drawn(batch()), plain(batch()), rtol=0, atol=0)


def test_describe_clusters_names_nearest_classes(pixelclip):
    words = ["red star", "grass", "sand"]
    model = pixelclip(*key("CLUSTERING", "names"), *key("CLASS_NAMES", words)).train()
    model.text_bank.templates = ("a photo of a {} in the scene",)
    assert [cluster.words for cluster in model.describe_clusters()] == [()] * 3
    model.set_vocabulary("sand, water, grass")
    steps = []
    for _ in range(2):
        model(batch())
        steps.append(model.system.statistics.assignment.counts.double())
    clusters = {cluster.cluster: cluster for cluster in model.describe_clusters(num_words=2)}
    assert [clusters[i].words[0][0] for i in (1, 2)] == ["grass", "sand"]
    assert clusters[1].words[0][1] == pytest.approx(1, abs=1e-5)
    assert all(
        len(cluster.words) == 2 and cluster.words[0][1] >= cluster.words[1][1]
        for cluster in clusters.values()
    )
    lately = (0.99 * steps[0] + steps[1]) / 1.99
    for number, cluster in clusters.items():
        assert cluster.masks == pytest.approx(lately[number].item(), rel=1e-5)
    masks = [cluster.masks for cluster in model.describe_clusters()]
    assert masks == sorted(masks, reverse=True) and sum(masks) == pytest.approx(7)


# --- evaluation


def test_evaluation_is_maskclip_on_the_student(pixelclip, build):
    block = ("MODEL.CLIP.LAST_BLOCK.RESIDUAL", "none", "MODEL.CLIP.LAST_BLOCK.MLP", "False")
    denoising = ("MODEL.MASKCLIP.PROMPT_DENOISING", "0.3")
    model, maskclip = pixelclip(*block, *denoising), build(*block, *denoising)
    maskclip.system.tower.load_state_dict(model.system.tower.state_dict())
    assert type(maskclip) is MaskCLIP
    inputs = [{"image": sample["image"], "classes": "red, green"} for sample in batch()]
    for own, theirs in zip(model(inputs), maskclip(inputs), strict=True):
        torch.testing.assert_close(own["sem_seg"], theirs["sem_seg"])
    assert torch.equal(model.segment(inputs)[0], model(inputs)[0]["sem_seg"].argmax(dim=0))


def test_image_size_does_not_change_the_output_size(pixelclip):
    model = pixelclip(*key("IMAGE_SIZE", [24, 16]))
    image = batch()[0]["image"]
    wide = {"image": image[:, :20], "height": 10, "width": 30, "classes": ["a", "b", "c"]}
    assert model([wide])[0]["sem_seg"].shape == (3, 10, 30)


def test_decoder_stem_key(pixelclip):
    assert pixelclip().system.decoder.stem.out_channels == 16
    model = pixelclip(*key("DECODER_STEM", 24)).train()
    assert model.system.decoder.stem.out_channels == 24
    assert torch.isfinite(model(batch())["loss_mask"])


def test_official_key_trains_at_sizes_that_are_not_whole_patches(pixelclip):
    model = pixelclip(*key("OFFICIAL", True)).train()
    seen = []
    model.system.tower.model.visual.conv1.register_forward_pre_hook(
        lambda _, x: seen.append(tuple(x[0].shape[2:]))
    )
    samples = batch(size=(40, 32))
    samples = [{name: value[..., :37, :30] for name, value in each.items()} for each in samples]
    assert torch.isfinite(model(samples)["loss_mask"])
    assert set(seen) == {(32, 24)}


def test_official_key_selects_the_official_inference(pixelclip):
    inputs = [{"image": batch()[0]["image"], "classes": "a, b"}]
    plain, official = pixelclip(), pixelclip(*key("OFFICIAL", True))
    assert not plain.maskclip.official and official.maskclip.official
    assert not torch.allclose(plain(inputs)[0]["sem_seg"], official(inputs)[0]["sem_seg"])


# --- checkpoints


def trained(model, steps=2):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model.train()
    for _ in range(steps):
        model(batch())["loss_mask"].backward()
        optimizer.step()
    return model


def test_checkpoints_hold_the_teacher_exactly(pixelclip, tmp_path):
    model = trained(pixelclip(*key("MOMENTUM", 0.7)))
    Checkpointer(model, str(tmp_path)).save("trained")
    torch.manual_seed(9)
    other = pixelclip(*key("MOMENTUM", 0.7))
    DetectionCheckpointer(other).load(str(tmp_path / "trained.pth"))
    ours, theirs = model.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    teacher = [name for name in ours if name.startswith("system.teacher.")]
    student = [name.replace("teacher", "tower.model.visual") for name in teacher]
    assert any(not torch.equal(ours[a], ours[b]) for a, b in zip(teacher, student, strict=True))
    assert ours["masks_lately"].sum() == pytest.approx(7 * 1.99)
    torch.testing.assert_close(other.train()(batch()), model.train()(batch()), rtol=0, atol=0)


def test_clip_pretrain_weights_start_teacher_and_student(build, pixelclip, tmp_path, caplog):
    torch.manual_seed(4)
    pretrained = build("MODEL.META_ARCHITECTURE", "CLIPPretrain")
    torch.nn.init.normal_(pretrained.system.tower.model.visual.conv1.weight)
    Checkpointer(pretrained, str(tmp_path)).save("clip")
    model = pixelclip()
    with caplog.at_level(logging.WARNING):
        Checkpointer(model).load(str(tmp_path / "clip.pth"))
    assert "system.decoder." in caplog.text and "teacher" not in caplog.text
    weight = pretrained.system.tower.model.visual.conv1.weight
    assert torch.equal(model.system.teacher.conv1.weight, weight)
    assert torch.equal(model.system.tower.model.visual.conv1.weight, weight)


# --- runs
