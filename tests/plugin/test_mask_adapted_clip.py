"""MaskAdaptedCLIP through detectron2: training, unchanged weights, classification of masks."""

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import load_clip, load_prompted_tower
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY
from ovseg_d2.d2.utils.events import EventStorage
from ovseg_d2.engine import build_optimizer
from ovseg_d2.plugin import MaskAdaptedCLIP

ARCH = ("MODEL.META_ARCHITECTURE", "MaskAdaptedCLIP")


def key(name, value):
    return f"MODEL.MASK_ADAPTED_CLIP.{name}", str(value)


@pytest.fixture
def adapted(build):
    """Give a function from further keys and values to a tiny MaskAdaptedCLIP of depth 2."""
    return lambda *opts: build(*ARCH, *key("PROMPT_DEPTH", 2), *opts)


def batch():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for noun, (height, width) in (("red star", (20, 30)), ("dog", (9, 7)), ("red star", (32, 32))):
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
        mask = torch.rand(height, width, generator=generator) > 0.3
        mask[height // 2 :, width // 2 :] = False
        mask[0, 0] = True
        samples.append({"image": image, "mask": mask, "noun": noun})
    return samples


def test_options_reach_the_plain_system(adapted, check_attributes):
    assert META_ARCH_REGISTRY.get("MaskAdaptedCLIP") is MaskAdaptedCLIP
    model = adapted(*key("FILL", "zero"), *key("OFFICIAL", True), *key("MAX_LOGIT_SCALE", 7.0))
    expected = {"train_part": "prompts", "fill": "zero", "official": True}
    expected |= {"max_logit_scale": 7.0, "prompted.depth": 2}
    check_attributes(model.system, expected)
    assert model.text_bank.templates == model.system.text_bank.templates
    bare = adapted(*key("TEMPLATES", "['{}']")).system.text_bank.templates
    assert list(bare) == ["{}"] != list(model.text_bank.templates)
    wide = adapted("INPUT.PAIRS.EXPAND_RATIO", "1.5", *key("FILL", "none"))
    assert (wide.classifier.crop.expand_ratio, wide.classifier.crop.fill) == (1.5, "none")


@pytest.mark.parametrize(
    ("train", "depth", "kinds"),
    [
        ("prompts", 2, {"prompts"}),
        ("image", 0, {"visual"}),
        ("image", 2, {"visual"}),
        ("both", 2, {"prompts", "visual"}),
    ],
)
def test_training_changes_the_chosen_part_only(adapted, tiny_cfg, train, depth, kinds):
    opts = (*key("TRAIN", train), *key("PROMPT_DEPTH", depth))
    model = adapted(*opts).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(tiny_cfg(*ARCH, *opts, "SOLVER.BASE_LR", "0.1"), model)
    for _ in range(2):
        optimizer.zero_grad()
        losses = model(batch())
        assert list(losses) == ["loss_contrastive"]
        losses["loss_contrastive"].backward()
        optimizer.step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    changed.remove("system.log_scale")
    assert changed
    clip = "system.prompted.tower.model."
    # MPT leaves CLIP unchanged, and no option changes the text half.
    assert all(k.startswith(f"{clip}visual.") or k == "system.prompted.prompts" for k in changed)
    parts = {"prompts" if k.endswith("prompts") else "visual" for k in changed}
    assert parts == kinds


def test_mask_prompts_have_no_weight_decay(adapted, tiny_cfg):
    optimizer = build_optimizer(tiny_cfg(*ARCH, "SOLVER.WEIGHT_DECAY", "0.3"), adapted())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2  # and the scale


def test_loss_is_the_systems(adapted):
    model = adapted().train()
    samples = batch()
    crops = [sample["image"].float() for sample in samples]
    expected = model.system(crops, [e["mask"] for e in samples], [e["noun"] for e in samples])
    torch.testing.assert_close(model(samples), expected)
    bgr = adapted("INPUT.FORMAT", "BGR").train()
    swapped = [{**sample, "image": sample["image"].flip(0)} for sample in samples]
    torch.testing.assert_close(bgr(swapped), expected)
    with EventStorage() as storage:
        model(samples)
        (scale,) = storage.histories()["mask_adapted_clip/logit_scale"].values()
    assert scale[0] == pytest.approx(model.system.log_scale.exp().item())


@torch.no_grad()
def test_masks_are_classified_by_their_crops(adapted):
    model = adapted()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=generator)
    masks = torch.zeros(3, 40, 50, dtype=torch.bool)
    masks[0, 5:20, 10:40] = masks[2, 30:, :] = True
    sample = {"image": image, "masks": masks, "classes": "red star, dog"}
    (result,) = model([sample])
    assert result["mask_probs"].shape == (3, 2) and not result["mask_probs"][1].any()
    # By hand: the box, its background grey, bicubic, and the softmax of 100 cosines.
    tower = model.system.prompted.tower
    crop = tower.normalize(image.float())[:, 5:20, 10:40]
    crop = F.interpolate(crop[None], (32, 32), mode="bicubic")
    embeds = model.system.prompted.encode_crops(crop, torch.ones(1, 32, 32, dtype=torch.bool))
    cosines = embeds @ model.text_bank.embed(["red star", "dog"]).t()
    torch.testing.assert_close(result["mask_probs"][:1], (100 * cosines).softmax(dim=1))
    many = model([{**sample, "classes": "a, b, c"}, {**sample, "masks": masks[:0]}])
    assert [tuple(output["mask_probs"].shape) for output in many] == [(3, 3), (0, 2)]


def test_inputs_without_masks_are_refused(adapted):
    model = adapted()
    image = batch()[0]["image"]
    with pytest.raises(
        ValueError, match="a.png comes without 'masks'; set TEST.TASK to mask_crops"
    ):
        model([{"image": image, "file_name": "a.png", "classes": "dog"}])
    with pytest.raises(ValueError, match="without 'mask'; set INPUT.TRAIN_MAPPER to pairs"):
        model.train()([{"image": image}])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (key("TRAIN", "text"), "TRAIN is 'text'; it takes one of 'prompts', 'image'"),
        (key("FILL", "blue"), "FILL is 'blue'; it takes one of 'mean'"),
        (
            key("PROMPT_DEPTH", 3),
            "depth is 3; give 0 for no prompts, or at most the number of blocks, 2 here",
        ),
        (key("PROMPT_DEPTH", 0), "train='prompts' trains prompts, and there are none"),
        (key("MAX_LOGIT_SCALE", 0.0), "MAX_LOGIT_SCALE is 0.0; it takes a number above 0"),
    ],
)
def test_bad_values(adapted, keys, words):
    with pytest.raises(ValueError, match=words):
        adapted(*keys)


@torch.no_grad()
def test_checkpoint_loads_as_a_prompted_tower(adapted, tiny_cfg, tmp_path):
    model = adapted()
    model.system.prompted.prompts.add_(1)
    torch.save({"model": model.state_dict(), "iteration": 9}, tmp_path / "model_final.pth")
    tower = load_clip(tiny_cfg().MODEL.CLIP.NAME, "random")
    loaded = load_prompted_tower(tower, tmp_path / "model_final.pth")
    for name, value in model.system.prompted.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
