"""MaskedDistillCLIP through detectron2: losses, options, checkpoints and bad values."""

import json

import pytest
import torch

from ovseg_d2.d2.modeling import META_ARCH_REGISTRY
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.plugin import CLIPPretrain, MaskCLIP, MaskedDistillCLIP

KEYS = {
    "MODEL.META_ARCHITECTURE": "MaskedDistillCLIP",
    "MODEL.MASKED_DISTILL.NUM_CODES": 12,
    "MODEL.MASKED_DISTILL.HIDDEN_DIM": 16,
    "MODEL.MASKED_DISTILL.CODE_DIM": 8,
    "MODEL.MASKED_DISTILL.MOMENTUM": 0.9,
    "MODEL.MASKED_DISTILL.LANGUAGE.WEIGHT": 0.05,
    "MODEL.MASKED_DISTILL.LANGUAGE.DECODER_LAYERS": 1,
}
OPTS = [str(word) for pair in KEYS.items() for word in pair]


def key(name, value):
    return (f"MODEL.MASKED_DISTILL.{name}", str(value))


def batch(size=32):
    return [
        {
            "image": torch.randint(0, 256, (3, size, size), dtype=torch.uint8),
            "drawn_captions": [f"a red star number {number}"],
            "classes": "red, green",
        }
        for number in range(2)
    ]


def test_losses_are_the_systems(build):
    model = build(*OPTS).train()
    assert META_ARCH_REGISTRY.get("MaskedDistillCLIP") is MaskedDistillCLIP is type(model)
    inputs = batch()
    torch.manual_seed(3)
    losses = model(inputs)
    assert list(losses) == ["loss_contrastive", "loss_distillation", "loss_masked_language"]
    model = build(*OPTS).train()
    images = torch.stack([sample["image"] for sample in inputs]).float()
    torch.manual_seed(3)
    expected = model.system(images, [sample["drawn_captions"] for sample in inputs])
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_options_reach_the_plain_system(build, check_attributes):
    model = build(
        *OPTS,
        *(
            "MODEL.CLIP_PRETRAIN.ATTENTION_ONLY",
            "0.5",
            "MODEL.CLIP_PRETRAIN.MAX_LOGIT_SCALE",
            "50.0",
        ),
        *key("WEIGHT", 0.1),
        *key("MASK_RATIO", 0.5),
        *key("STUDENT_TEMPERATURE", 0.2),
        *key("TEACHER_TEMPERATURE", 0.06),
        *key("CENTER_MOMENTUM", 0.5),
        *key("DECODER_LAYERS", 2),
        *key("LANGUAGE.MASK_RATIO", 0.3),
        *key("LANGUAGE.REPLACE", [1.0, 0.0]),
    )
    expected = {"attention_only": 0.5, "max_logit_scale": 50.0}
    expected |= {"distillation_weight": 0.1, "language_weight": 0.05}
    expected |= {"distillation.mask_ratio": 0.5, "distillation.momentum": 0.9}
    expected |= {"distillation.center_momentum": 0.5, "distillation.temperatures": (0.2, 0.06)}
    expected |= {"distillation.decoder.grid": (4, 4)}
    expected |= {"distillation.tokenizer.codes.shape": (12, 8)}
    expected |= {"masked_language.mask_ratio": 0.3, "masked_language.replace": (1.0, 0.0)}
    check_attributes(model.system, expected)
    assert len(model.system.distillation.decoder.decoder.layers.layers) == 2


@pytest.mark.parametrize("target", ["teacher", "student", "pixels"])
def test_targets_and_weights_select_the_parts(build, target):
    model = build(*OPTS, *key("TARGET", target), *key("LANGUAGE.WEIGHT", 0.0)).train()
    assert (model.system.distillation.teacher is not None) == (target == "teacher")
    assert list(model(batch())) == ["loss_contrastive", "loss_distillation"]
    assert list(build(*OPTS, *key("WEIGHT", 0.0)).train()(batch())) == [
        "loss_contrastive",
        "loss_masked_language",
    ]


def test_evaluation_is_maskclip_on_the_student(build, tmp_path):
    model = build(*OPTS).eval()
    Checkpointer(model, str(tmp_path)).save("trained")
    maskclip = build("MODEL.WEIGHTS", str(tmp_path / "trained.pth"))
    assert type(maskclip) is MaskCLIP
    Checkpointer(maskclip).load(str(tmp_path / "trained.pth"))
    inputs = batch()
    for own, theirs in zip(model(inputs), maskclip(inputs), strict=True):
        torch.testing.assert_close(own["sem_seg"], theirs["sem_seg"])


def test_clip_pretrain_weights_start_the_teacher(build, tmp_path):
    pretrained = build("MODEL.META_ARCHITECTURE", "CLIPPretrain")
    assert type(pretrained) is CLIPPretrain
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.add_(torch.randn_like(parameter))
    Checkpointer(pretrained, str(tmp_path)).save("clip")
    model = build(*OPTS)
    Checkpointer(model).load(str(tmp_path / "clip.pth"))
    teacher = model.system.distillation.teacher["visual"].state_dict()
    for name, value in pretrained.system.tower.model.visual.state_dict().items():
        assert torch.equal(teacher[name], value), name


# --- bad input


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (key("TARGET", "tokens"), "TARGET is 'tokens'; it takes one of 'teacher'"),
        (key("MASK_RATIO", 1.0), "MASK_RATIO is 1.0; it takes a number above 0 and below 1"),
        (key("MASK_RATIO", 0.0), "MASK_RATIO is 0.0; it takes a number above 0 and below 1"),
        (key("LANGUAGE.MASK_RATIO", 20.0), "MASK_RATIO is 20.0; it takes a number above 0 and"),
        (key("MOMENTUM", 1.0), "MOMENTUM is 1.0; it takes a number of at least 0 and"),
        (key("WEIGHT", -1.0), "WEIGHT is -1.0; it takes a number from 0"),
        (key("NUM_CODES", 1), "NUM_CODES is 1; it takes a whole number from 2"),
        (key("DECODER_HEADS", 3), "num_heads=3 do not share dim=32"),
        (key("TEACHER_TEMPERATURE", 0.0), "TEACHER_TEMPERATURE is 0.0; it takes a number above 0"),
        (key("LANGUAGE.REPLACE", [0.9, 0.2]), "replace is .0.9, 0.2.; give the shares of words"),
    ],
)
def test_bad_values(build, keys, message):
    with pytest.raises(ValueError, match=message):
        build(*OPTS, *keys)


def test_training_refuses_images_of_another_grid(build):
    with pytest.raises(ValueError, match="images of 2x2 patches for a decoder of 4x4; give train"):
        build(*OPTS).train()(batch(size=16))


def test_resnet_tower_is_refused(build, tmp_path, tiny_clip_config):
    vision = {"layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 64}
    config = tiny_clip_config | {"vision_cfg": tiny_clip_config["vision_cfg"] | vision}
    (tmp_path / "resnet.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is a ModifiedResNet, which has no patch tokens"):
        build(*OPTS, "MODEL.CLIP.NAME", str(tmp_path / "resnet.json"))
