"""CLIPs in the files of other projects: the same features, activation and statistics."""

import json
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ovseg_d2.clip import CLIPTower, load_clip, load_prompted_tower, read_clip
from ovseg_d2.clip.training import Chosen
from ovseg_d2.config import load_config
from ovseg_d2.plugin import build_model as build_configured_model
from ovseg_d2.plugin import build_tower as build_configured

from . import layouts

STATISTICS = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
GREY = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def activations(tower):
    names = (type(module).__name__ for module in tower.model.modules())
    return {name for name in names if "GELU" in name}


@pytest.fixture
def write_config(tmp_path, tiny_clip_config):
    """Give a function that writes the tiny model's config with another kind of image tower."""

    def write(vision=None):
        path = tmp_path / "tiny.json"
        config = dict(tiny_clip_config)
        config["vision_cfg"] = {**tiny_clip_config["vision_cfg"], **(vision or {})}
        path.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": GREY}))
        return str(path)

    return write


@torch.no_grad()
def assert_same_features(tower, model, tokenizer):
    source = CLIPTower(model, tokenizer, *STATISTICS)
    images = torch.rand(2, 3, *tower.image_size)
    assert torch.equal(tower.encode_image(images), source.encode_image(images))
    assert torch.equal(tower.dense_feats(images), source.dense_feats(images))
    ids = tower.tokenize(["a cat", "two red stars"])
    assert torch.equal(tower.encode_text(ids), source.encode_text(ids))


RELEASES = {
    "OpenAI": (layouts.openai, {}),
    "OVSeg": (layouts.ovseg, {}),
    "OVSeg's CLIP": (layouts.ovseg_clip, {}),
    "PixelCLIP": (layouts.pixelclip, {}),
}


@pytest.mark.parametrize(("pack", "vision"), RELEASES.values(), ids=RELEASES)
def test_releases_bring_activation_and_statistics(
    tmp_path, build_model, tokenizer, write_config, pack, vision
):
    model = build_model(vision=vision, quick_gelu=True)
    torch.save(pack(model.state_dict()), tmp_path / "released.pth")
    opts = [
        *("MODEL.CLIP.NAME", write_config(vision)),
        *("MODEL.CLIP.PRETRAINED", str(tmp_path / "released.pth")),
    ]
    tower = build_configured(load_config(None, ["MODEL.DEVICE", "cpu", *opts]))
    assert activations(tower) == {"QuickGELU"}
    assert (tower.mean, tower.std) == STATISTICS
    assert_same_features(tower, model, tokenizer)


def test_pixelclip_with_a_convnext_has_gelu(
    tmp_path, build_model, tokenizer, write_config, vision_kinds
):
    vision = vision_kinds["convnext"]
    model = build_model(vision=vision)
    torch.save(layouts.pixelclip(model.state_dict()), tmp_path / "released.pth")
    tower = load_clip(write_config(vision), tmp_path / "released.pth")
    assert "QuickGELU" not in activations(tower)
    assert (tower.mean, tower.std) == STATISTICS
    assert_same_features(tower, model, tokenizer)


def test_clip_weights_of_a_config_bring_their_activation(tmp_path, build_model, write_config):
    torch.save(layouts.ovseg_clip(build_model().state_dict()), tmp_path / "adapted.pth")
    opts = [
        *("MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "OVSeg"),
        *("MODEL.OVSEG.PROPOSALS", "felzenszwalb", "MODEL.CLIP.NAME", write_config()),
        *("MODEL.CLIP.PRETRAINED", "random"),
        *("MODEL.OVSEG.CLIP_WEIGHTS", str(tmp_path / "adapted.pth")),
    ]
    prompted = build_configured_model(load_config(None, opts)).prompted
    assert prompted.depth == 2
    assert activations(prompted.tower) == {"QuickGELU"}


@pytest.mark.parametrize("pack", [layouts.ovseg, layouts.ovseg_clip])
def test_clip_weights_bring_activation_and_statistics(
    tmp_path, build_model, tokenizer, write_config, pack
):
    model = build_model(quick_gelu=True)
    torch.save(pack(model.state_dict()), tmp_path / "adapted.pth")
    prompted = load_prompted_tower(load_clip(write_config(), "random"), tmp_path / "adapted.pth")
    assert prompted.depth == 2
    assert activations(prompted.tower) == {"QuickGELU"}
    assert prompted.tower.mean == STATISTICS[0]
    assert_same_features(prompted.tower, model, tokenizer)


def test_choices_of_the_user_stay_with_a_warning(tmp_path, build_model, write_config, caplog):
    path = tmp_path / "released.pth"
    torch.save(layouts.ovseg(build_model().state_dict()), path)
    options = {"quick_gelu": False, "mean": [0.4, 0.4, 0.4]}
    tower = load_clip(write_config(), path, **options)
    assert activations(tower) == {"GELU"}
    assert tower.mean == (0.4, 0.4, 0.4) and tower.std == STATISTICS[1]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2
    assert "QUICK_GELU is set to False, which is used, but a release of OVSeg" in said[0]
    assert "PIXEL_MEAN is set to (0.4, 0.4, 0.4)" in said[1]
    # The mask-adapted CLIP of an OVSeg overrules them no more than PRETRAINED does.
    tower = load_clip(write_config(), "random", **options)
    assert tower.chosen == Chosen(False, [0.4, 0.4, 0.4])
    assert activations(load_prompted_tower(tower, path).tower) == {"GELU"}
    assert tower.mean == (0.4, 0.4, 0.4)


# --- Hugging Face


HALVES = {"text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}}


@pytest.fixture
def write_hugging_face(tmp_path):
    """Give a function that writes a folder as transformers' save_pretrained does."""

    def write(state, config=None, name="model.safetensors"):
        folder = tmp_path / "snapshot"
        folder.mkdir(exist_ok=True)
        if name.endswith("safetensors"):
            save_file(state, folder / name)
        else:
            torch.save(state, folder / name)
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("config", "quick_gelu"),
    [
        ({"model_type": "clip", **HALVES}, False),
        ({"model_type": "clip", "text_config": {"hidden_size": 32}}, True),
        ({"model_type": "clip", "text_config": {}, "vision_config": {}}, True),
        ({"model_type": "clip_vision_model", "hidden_act": "gelu"}, False),
    ],
    ids=["gelu", "default", "empty", "half"],
)
def test_hugging_face_with_its_config(
    build_model, tokenizer, write_config, write_hugging_face, name, config, quick_gelu
):
    model = build_model(quick_gelu=quick_gelu)
    folder = write_hugging_face(layouts.hugging_face(model.state_dict()), config, name)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": STATISTICS[0], "image_std": STATISTICS[1]})
    )
    tower = load_clip(write_config(), folder)
    assert activations(tower) == {"QuickGELU" if quick_gelu else "GELU"}
    assert (tower.mean, tower.std) == STATISTICS
    assert_same_features(tower, model, tokenizer)
    assert read_clip(folder / name).unused == ()


@pytest.mark.parametrize("prefix", ["module.", "clip.", "model.clip_model."])
def test_hugging_face_with_a_prefix(
    build_model, tokenizer, write_config, write_hugging_face, prefix
):
    model = build_model()
    state = {f"{prefix}{k}": v for k, v in layouts.hugging_face(model.state_dict()).items()}
    folder = write_hugging_face({"state_dict": state | {"head.x": torch.ones(1)}}, name="a.ckpt")
    assert read_clip(folder / "a.ckpt").unused == ("head.x",)
    assert_same_features(load_clip(write_config(), folder / "a.ckpt"), model, tokenizer)


def test_hugging_face_without_a_config_warns(build_model, write_config, write_hugging_face, caplog):
    folder = write_hugging_face(layouts.hugging_face(build_model().state_dict()))
    assert activations(load_clip(write_config(), folder)) == {"GELU"}
    assert "does not say whether it was trained with QuickGELU or GELU, and" in caplog.text
    assert "copy its config.json beside it" in caplog.text
    caplog.clear()
    load_clip(write_config(), folder, quick_gelu=True)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("config.json", "{", "config.json is not a config of Hugging Face's"),
        ("config.json", "[]", "config.json is not a config of Hugging Face's"),
        ("config.json", '{"model_type": "clip", "text_config": 3}', "config.json is not a config"),
        ("preprocessor_config.json", '{"image_mean": [1]}', "transformers .image_mean is .1.."),
        ("preprocessor_config.json", '{"image_std": [0, 1, 1]}', "image_std is .0, 1, 1"),
    ],
)
def test_damaged_configs_are_refused(
    build_model, write_config, write_hugging_face, name, text, problem
):
    folder = write_hugging_face(layouts.hugging_face(build_model().state_dict()))
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=problem):
        load_clip(write_config(), folder)


def test_open_clips_config_beside_a_file_is_read(tmp_path, build_model, write_config):
    (tmp_path / "hub").mkdir()
    path = tmp_path / "hub" / "open_clip_pytorch_model.bin"
    torch.save(build_model().state_dict(), path)
    config = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}
    path.with_name("open_clip_config.json").write_text(json.dumps(config))
    tower = load_clip(write_config(), path)
    assert activations(tower) == {"QuickGELU"}
    assert tower.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("both", [True, False])
def test_files_of_a_name_with_both_activations_warn(
    tmp_path, monkeypatch, tiny_clip_config, build_model, caplog, both
):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny_clip_config)
    tags = {"openai": {"quick_gelu": True, **GREY}, "laion": GREY}
    tags = tags if both else {"laion": GREY}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    torch.save(build_model().state_dict(), tmp_path / "epoch_3.pt")
    tower = load_clip("tiny", tmp_path / "epoch_3.pt")
    assert ("GELU, and that of the model's name is used; set" in caplog.text) == both
    caplog.clear()
    load_prompted_tower(tower, tmp_path / "epoch_3.pt")  # keeps the activation of the first
    assert not caplog.records
    load_prompted_tower(load_clip("tiny", "random"), tmp_path / "epoch_3.pt")
    assert ("GELU, and that of the model's name is used; set" in caplog.text) == both


# --- one half


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@pytest.mark.parametrize("backbone", [True, False], ids=["backbone", "weights"])
def test_maskclips_image_half_beside_a_whole_clip(
    tmp_path, build_model, tokenizer, write_config, vision_kinds, caplog, kind, backbone
):
    vision = vision_kinds[kind]
    whole, half = build_model(vision=vision), build_model(vision=vision, quick_gelu=True)
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    extract = layouts.maskclip(half.state_dict(), backbone=backbone)
    torch.save(extract, tmp_path / "ViT16_clip.pth")
    opts = [
        *("MODEL.CLIP.NAME", write_config(vision)),
        *("MODEL.CLIP.PRETRAINED", str(tmp_path / "whole.pt")),
        *("MODEL.CLIP.IMAGE_WEIGHTS", str(tmp_path / "ViT16_clip.pth")),
    ]
    tower = build_configured(load_config(None, ["MODEL.DEVICE", "cpu", *opts]))
    expected = whole.state_dict() | {
        k: v for k, v in half.state_dict().items() if k.startswith("visual.")
    }
    # What the files lack stays: in one all projections, in the other the pooling's positions.
    lost = ("visual.proj", "visual.attnpool.") if backbone else ("visual.attnpool.pos",)
    kept = {k: v for k, v in whole.state_dict().items() if k.startswith(lost)}
    expected |= kept
    told = f"so that the former ones stay: {len(kept)} ({next(iter(kept), '')}"
    assert (told in caplog.text) == bool(kept)
    own = tower.model.state_dict()
    assert all(torch.equal(own[key], expected[key]) for key in expected)
    assert activations(tower) == ({"GELU", "QuickGELU"} if kind == "vit" else {"GELU"})
    assert tower.mean == STATISTICS[0]


LONE = {
    "visual.": lambda state: {k: v for k, v in state.items() if k.startswith("visual.")},
    "model.visual.": lambda state: {
        f"model.{k}": v for k, v in state.items() if k.startswith("visual.")
    },
    "bare": lambda state: {
        k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")
    },
    "Hugging Face": lambda state: {
        k: v for k, v in layouts.hugging_face(state).items() if k.startswith("vis")
    },
    "whole": lambda state: state,
}


@torch.no_grad()
@pytest.mark.parametrize("pack", LONE.values(), ids=LONE)
def test_a_lone_image_half_has_its_text_half_from_elsewhere(
    tmp_path, build_model, tokenizer, write_config, pack
):
    whole, half = build_model(), build_model()
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    torch.save(pack(half.state_dict()), tmp_path / "half.pt")
    config = write_config()
    towers = [load_clip(config, tmp_path / "whole.pt", image_weights=tmp_path / "half.pt")]
    if pack is not LONE["whole"]:  # CLIP_WEIGHTS takes both halves of a whole file
        base = load_clip(config, tmp_path / "whole.pt")
        towers.append(load_prompted_tower(base, tmp_path / "half.pt").tower)
        with pytest.raises(ValueError, match=r"image half of a CLIP alone; give a whole CLIP in"):
            load_clip(config, tmp_path / "half.pt")
        with pytest.raises(ValueError, match=r"half of a CLIP alone; set MODEL.CLIP.PRETRAINED"):
            load_prompted_tower(load_clip(config, "random"), tmp_path / "half.pt")
    images, words = torch.rand(2, 3, 32, 32), towers[0].tokenize(["a cat"])
    image = CLIPTower(half, tokenizer, *STATISTICS).encode_image(images)
    text = CLIPTower(whole, tokenizer, *STATISTICS).encode_text(words)
    for tower in towers:
        assert torch.equal(tower.encode_image(images), image)
        assert torch.equal(tower.encode_text(words), text)


def test_an_image_half_of_another_size_is_refused(tmp_path, build_model, write_config):
    torch.save(build_model().state_dict(), tmp_path / "whole.pt")
    half = LONE["visual."](build_model(vision={"width": 48}).state_dict())
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(ValueError, match=r"half.pt do not fit .* of another shape: visual"):
        load_clip(write_config(), tmp_path / "whole.pt", image_weights=tmp_path / "half.pt")


@pytest.mark.parametrize("lone", [True, False], ids=["image half", "whole"])
def test_clip_weights_beside_a_tag(
    tmp_path, monkeypatch, tiny_clip_config, build_model, caplog, lone
):
    tagged, adapted = build_model(), build_model()
    torch.save(tagged.state_dict(), tmp_path / "tagged.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny_clip_config)
    tags = {
        "openai": {"file": str(tmp_path / "tagged.pt"), "quick_gelu": True, **GREY},
        "laion": GREY,
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    state = adapted.state_dict()
    torch.save(LONE["visual."](state) if lone else state, tmp_path / "fine_tuned.pt")
    opts = [
        *("MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "OVSeg"),
        *("MODEL.OVSEG.PROPOSALS", "felzenszwalb", "MODEL.CLIP.NAME", "tiny"),
        *("MODEL.CLIP.PRETRAINED", "openai"),
        *("MODEL.OVSEG.CLIP_WEIGHTS", str(tmp_path / "fine_tuned.pt")),
    ]
    tower = build_configured_model(load_config(None, opts)).prompted.tower
    assert activations(tower) == {"QuickGELU"} and tower.mean == tuple(GREY["mean"])
    assert torch.equal(tower.model.visual.proj, adapted.visual.proj)
    text = tagged if lone else adapted
    assert torch.equal(tower.model.text_projection, text.text_projection)
    assert "does not say" not in caplog.text  # the tag tells


# --- wrappers and refusals


WRAPPED = {
    "Lightning": lambda s: {"state_dict": {f"net.{k}": v for k, v in s.items()}, "epoch": 1},
    "FSDP": lambda s: {
        k.replace("resblocks.0.", "resblocks.0._fsdp_wrapped_module._checkpoint_wrapped_module."): v
        for k, v in s.items()
    },
    "compiled, parallel": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "EMA": lambda s: {"ema": {f"module.{k}": v for k, v in s.items()}},
    "EMA in the names": lambda s: {f"ema_model.module.{k}": v for k, v in s.items()},
    "EMA beside": lambda s: (
        {f"model.{k}": v for k, v in s.items()}
        | {f"ema_model.module.{k}": torch.zeros_like(v) for k, v in s.items()}
    ),
    "DeepSpeed": lambda s: {"module": {f"clip.{k}": v for k, v in s.items()}, "optimizer": None},
    "constants": lambda s: (
        {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}
        | {"attn_mask": torch.ones(2, 2), "position_ids": torch.ones(2)}
    ),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_wrappers_of_trainers(tmp_path, build_model, tokenizer, write_config, vision_kinds, wrap):
    vision = vision_kinds["resnet" if wrap is WRAPPED["constants"] else "vit"]
    model = build_model(vision=vision)
    torch.save(wrap(model.state_dict()), tmp_path / "last.ckpt")
    tower = load_clip(write_config(vision), tmp_path / "last.ckpt")
    assert_same_features(tower, model, tokenizer)


def test_what_is_not_used_is_logged_in_one_line(tmp_path, build_model, write_config, caplog):
    state = layouts.pixelclip(build_model().state_dict())
    torch.save(state, tmp_path / "released.pth")
    with caplog.at_level(logging.INFO):
        load_clip(write_config(), tmp_path / "released.pth")
    (line,) = [record.getMessage() for record in caplog.records]
    count = len(build_model().state_dict())
    assert line.startswith(f"MODEL.CLIP.PRETRAINED: {count} tensors of")
    assert f"; not used: {count + 2} (sem_seg_head.predictor.prompt_tokens, head.conv0" in line
    assert line.endswith(", ...)")


def test_mask_prompts_that_are_not_used_are_logged(tmp_path, build_model, write_config, caplog):
    torch.save(layouts.ovseg_clip(build_model().state_dict()), tmp_path / "adapted.pt")
    with caplog.at_level(logging.INFO):
        tower = load_clip(write_config(), tmp_path / "adapted.pt")
        load_prompted_tower(tower, tmp_path / "adapted.pt")
    unused, used = [record.getMessage() for record in caplog.records]
    assert unused.endswith("; not used: 1 (visual.mask_embedding)")
    assert "not used" not in used


DAMAGED = {
    "Hugging Face": lambda s: {
        k: v[0] if "k_proj.weight" in k else v for k, v in layouts.hugging_face(s).items()
    },
    "prompts": lambda s: s | {"visual.mask_embedding": torch.ones(())},
    "OpenAI": lambda s: layouts.openai(s) | {"visual.proj": torch.ones(())},
    "MaskCLIP": lambda s: {k: torch.ones(()) for k in layouts.maskclip(s, backbone=False)["clip"]},
}


@pytest.mark.parametrize("pack", DAMAGED.values(), ids=DAMAGED)
def test_tensors_of_strange_shapes_are_refused(tmp_path, build_model, write_config, pack):
    torch.save(pack(build_model().state_dict()), tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=r"damaged.pth"):
        load_clip(write_config(), tmp_path / "damaged.pth")


def test_a_moving_average_beside_the_weights_is_named(tmp_path, build_model):
    state = build_model().state_dict()
    path = tmp_path / "last.pth"
    torch.save({"state_dict": state, "state_dict_ema": state, "scheduler": {"step": 1}}, path)
    assert read_clip(path).unused == ("state_dict_ema",)


REFUSED = {
    "text embeddings": (lambda s: torch.ones(20, 32), "text embeddings of 20 classes"),
    "text half": (
        lambda s: {k: v for k, v in s.items() if not k.startswith("visual.")},
        "it holds the text half of a CLIP alone; give a whole CLIP",
    ),
    "SAN": (layouts.san, "it is of another method, SAN; give a CLIP"),
    "CAT-Seg": (layouts.cat_seg, "it is of another method, CAT-Seg; give a CLIP"),
    "SAM": (
        lambda s: {"image_encoder.pos_embed": s["visual.proj"], "mask_decoder.a": s["visual.proj"]},
        "it holds weights of SAM and no CLIP; give a CLIP",
    ),
    "MaskCLIP+": (
        lambda s: {
            "meta": {},
            "state_dict": {
                "backbone.stem.0.weight": torch.ones(4, 3, 3, 3),
                "decode_head.decode_module.aspp_modules.0.conv.weight": torch.ones(4, 4, 3, 3),
                "decode_head.text_embeddings": torch.ones(20, 4),
            },
        },
        "MaskCLIP. and no CLIP; it belongs in MODEL.WEIGHTS",
    ),
    "no CLIP": (lambda s: {"a": torch.ones(1)}, "do not fit the model: .* 1 unexpected: a"),
}


@pytest.mark.parametrize(("pack", "told"), REFUSED.values(), ids=REFUSED)
def test_other_files_are_refused(tmp_path, build_model, write_config, pack, told):
    torch.save(pack(build_model().state_dict()), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=told):
        load_clip(write_config(), tmp_path / "other.pth")
    with pytest.raises(ValueError):
        load_prompted_tower(load_clip(write_config(), "random"), tmp_path / "other.pth")
