"""A training checkpoint becomes a small file that loads as the same CLIP."""

import json
import runpy
import sys

import pytest
import torch
from safetensors.torch import save_file

from ovseg_d2.clip import MaskPromptedTower, load_clip, load_prompted_tower


@pytest.fixture
def run_tool(request, monkeypatch):
    """Run the tool with some arguments, as the command line would."""

    def run(*arguments):
        path = request.config.rootpath / "tools" / "convert_weights.py"
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")

    return run


@pytest.fixture
def config_file(tiny_clip_config, tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_clip_config))
    return path


def test_checkpoint_to_weights(run_tool, config_file, tmp_path, capsys):
    tower = load_clip(str(config_file), "random")
    state = {f"system.tower.{key}": value for key, value in tower.state_dict().items()}
    torch.save({"model": state, "iteration": 3}, tmp_path / "model_final.pth")
    out = tmp_path / "out" / "clip.safetensors"
    run_tool("--model", config_file, "--weights", tmp_path / "model_final.pth", "--output", out)
    assert str(out) in capsys.readouterr().out
    again = load_clip(str(config_file), out)
    for (name, value), copy in zip(
        tower.state_dict().items(), again.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(copy, value, rtol=1e-3, atol=1e-4, msg=name)


def test_mask_prompts_are_kept(run_tool, config_file, tmp_path, capsys):
    prompted = MaskPromptedTower(load_clip(str(config_file), "random"), depth=2)
    state = {f"system.prompted.{key}": value for key, value in prompted.state_dict().items()}
    torch.save({"model": state}, tmp_path / "model_final.pth")
    out = tmp_path / "clip.safetensors"
    run_tool("--model", config_file, "--weights", tmp_path / "model_final.pth", "--output", out)
    assert "float16, with mask prompts of depth 2" in capsys.readouterr().out
    again = load_prompted_tower(load_clip(str(config_file), "random"), out)
    torch.testing.assert_close(again.prompts, prompted.prompts, rtol=1e-3, atol=1e-4)


def test_weights_of_another_model_end_in_a_sentence(run_tool, config_file, tmp_path):
    torch.save({"logit_scale": torch.zeros(())}, tmp_path / "other.pt")
    with pytest.raises(SystemExit) as ended:
        run_tool(
            "--model", config_file, "--weights", tmp_path / "other.pt", "--output", tmp_path / "o"
        )
    assert "do not fit the model" in str(ended.value.code)
    assert not (tmp_path / "o").exists()


def test_release_converts_a_whole_model(run_tool, tmp_path, capsys):
    weights = {
        "clip_adapter.non_object_embedding": torch.ones(1, 4),
        "clip_adapter.clip_model.logit_scale": torch.ones(()),
        "criterion.empty_weight": torch.ones(3),
    }
    torch.save({"model": weights}, tmp_path / "released.pth")
    out = tmp_path / "converted.pth"
    run_tool("--release", "ovseg", "--weights", tmp_path / "released.pth", "--output", out)
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: 2 tensors, of 3 in a release of OVSeg",
        "left out: criterion.empty_weight (a constant of the losses)",
    ]
    found = torch.load(out, weights_only=True)
    assert set(found["model"]) == {"system.no_object_embed", "prompted.tower.model.logit_scale"}
    assert found["clip_training"]["quick_gelu"] is True


@pytest.mark.parametrize(
    ("names", "release"),
    [
        (["head.conv0.bias", "teacher_encoder.visual.proj"], "a release of PixelCLIP"),
        (["backbone.stem.0.weight"], "a release of MaskCLIP+"),
        (["backbone.res2.0.conv1.weight"], "a release of MaskFormer"),
    ],
)
def test_release_auto_recognises_the_project(run_tool, tmp_path, capsys, names, release):
    signs = {
        "a release of PixelCLIP": ["sem_seg_head.predictor.clip_model.visual.conv1.weight"],
        "a release of MaskCLIP+": [
            *("decode_head.decode_module.aspp_modules.0.bn.bias", "decode_head.text_embeddings"),
        ],
        "a release of MaskFormer": [
            *(
                "sem_seg_head.predictor.class_embed.bias",
                "sem_seg_head.predictor.transformer.decoder.layers.0.norm1.bias",
            ),
        ],
    }
    weights = {name: torch.ones(1) for name in [*names, *signs[release]]}
    torch.save({"meta": {"CLASSES": ("a",)}, "state_dict": weights}, tmp_path / "a.pth")
    run_tool("--release", "auto", "--weights", tmp_path / "a.pth", "--output", tmp_path / "b.pth")
    assert release in capsys.readouterr().out
    found = torch.load(tmp_path / "b.pth", weights_only=True)["model"]
    assert all(name.startswith("system.") for name in found)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            ["side_adapter_network.a", "clip_visual_extractor.b"],
            "holds weights of SAN by their nam",
        ),
        (["a"], "of an unknown method by their names; --release converts those of maskclip_plus, "),
        (
            ["layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight"],
            "holds a Swin Transformer trained on ImageNet; it belongs in MODEL.TIMM.PRETRAINED",
        ),
    ],
)
def test_release_auto_refuses_other_files(run_tool, tmp_path, names, problem):
    torch.save({name: torch.ones(1) for name in names}, tmp_path / "a.pth")
    with pytest.raises(SystemExit) as ended:
        run_tool("--release", "auto", "--weights", tmp_path / "a.pth", "--output", tmp_path / "b")
    assert problem in str(ended.value.code)
    assert not (tmp_path / "b").exists()


def test_the_activation_travels_with_converted_weights(run_tool, config_file, tmp_path):
    numbers = dict.fromkeys(("input_resolution", "context_length", "vocab_size"), torch.tensor(32))
    state = load_clip(str(config_file), "random").model.state_dict()
    torch.save(state | numbers, tmp_path / "openai.pt")
    out = tmp_path / "clip.safetensors"
    run_tool("--model", config_file, "--weights", tmp_path / "openai.pt", "--output", out)
    again = load_clip(str(config_file), out).model
    assert {type(block.mlp.gelu).__name__ for block in again.transformer.resblocks} == {"QuickGELU"}


@pytest.mark.parametrize("entry", ["{", '{"quick_gelu": "on"}', '{"mean": [0.5]}', "3"])
def test_a_damaged_entry_about_the_training_is_refused(config_file, tmp_path, entry):
    state = load_clip(str(config_file), "random").model.state_dict()
    save_file(state, tmp_path / "clip.safetensors", metadata={"clip_training": entry})
    with pytest.raises(ValueError, match="damaged entry 'clip_training' .* write them again by"):
        load_clip(str(config_file), tmp_path / "clip.safetensors")


def test_the_clip_of_a_released_model_is_extracted(run_tool, config_file, tmp_path):
    prefix = "clip_adapter.clip_model."
    state = load_clip(str(config_file), "random").model.state_dict()
    state["visual.mask_embedding"] = torch.randn(2, 16, 32)
    others = dict.fromkeys(("sem_seg_head.predictor.a", "backbone.a"), torch.ones(1))
    torch.save({"model": {prefix + k: v for k, v in state.items()} | others}, tmp_path / "swin.pth")
    out = tmp_path / "clip.safetensors"
    run_tool("--model", config_file, "--weights", tmp_path / "swin.pth", "--output", out)
    prompted = load_prompted_tower(load_clip(str(config_file), "random"), out)
    torch.testing.assert_close(
        prompted.prompts, state["visual.mask_embedding"], rtol=1e-3, atol=1e-3
    )
    blocks = prompted.tower.model.visual.transformer.resblocks
    assert {type(block.mlp.gelu).__name__ for block in blocks} == {"QuickGELU"}
