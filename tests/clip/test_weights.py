import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ovseg_d2.clip.layouts import read_clip
from ovseg_d2.clip.weights import load_weights, save_weights

OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")


@pytest.fixture
def model(build_model):
    return build_model()


def assert_same(weights, model):
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(weights[key], value), key


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".anything"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "name": "run"},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {f"tower.model.{k}": v for k, v in state.items()}},
        lambda state: {
            "model": {f"tower.model.{k}": v for k, v in state.items()}
            | {"decoder.weight": torch.ones(2), "decoder.logit_scale": torch.ones(())},
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
            "iteration": 7,
        },
        lambda state: {f"sem_seg_head.predictor.clip_model.{k}": v for k, v in state.items()},
    ],
    ids=["bare", "open_clip", "data parallel", "ours", "ours with a decoder", "deep prefix"],
)
def test_pytorch_files(tmp_path, model, wrap, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(model.state_dict()), path)
    file = read_clip(path)
    assert_same(file.weights, model)
    assert file.training.quick_gelu is None


def test_safetensors(tmp_path, model):
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    file = read_clip(path)
    assert_same(file.weights, model)
    assert file.training.quick_gelu is None


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("error:`torch.jit.load` is deprecated:FutureWarning")
def test_openai_archive(tmp_path, model, script_archive):
    path = tmp_path / "ViT-tiny.pt"
    entries = {name: torch.tensor(32) for name in OPENAI_ENTRIES}
    script_archive(model.state_dict() | entries, path)
    file = read_clip(path)
    assert_same(file.weights, model)
    assert file.training.quick_gelu


def test_openai_state_dict(tmp_path, model):
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict() | dict.fromkeys(OPENAI_ENTRIES, torch.tensor(32)), path)
    file = read_clip(path)
    assert_same(file.weights, model)
    assert file.training.quick_gelu


def test_read_clip_refuses_several_towers(tmp_path, model):
    path = tmp_path / "weights.pt"
    state = model.state_dict()
    both = {f"{who}.model.{k}": v for k, v in state.items() for who in ("student", "teacher")}
    torch.save({"model": both}, path)
    with pytest.raises(ValueError, match=r"\['student.model.', 'teacher.model.'\]"):
        read_clip(path)


def test_read_clip_takes_any_one_prefix_and_names_the_rest(tmp_path, model):
    path = tmp_path / "weights.pt"
    state = {f"net.encoder.{key}": value for key, value in model.state_dict().items()}
    torch.save(state | {"net.head.weight": torch.ones(2)}, path)
    file = read_clip(path)
    assert_same(file.weights, model)
    assert file.unused == ("net.head.weight",)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weight file '.*absent.pt'"):
        read_clip(tmp_path / "absent.pt")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "empty.pt"])
def test_read_clip_refuses_other_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty.pt" else b"<html>404 Not Found</html>")
    problem = "it is empty" if name == "empty.pt" else "it is an HTML page"
    with pytest.raises(ValueError, match=f"cannot read the weights '.*{name}': {problem}"):
        read_clip(path)


def test_read_clip_executes_no_code(tmp_path, model):
    path = tmp_path / "weights.pt"
    torch.save(model, path)
    with pytest.raises(
        ValueError, match=r"it holds a whole object \(open_clip\.model\.CLIP\), not a"
    ):
        read_clip(path)


def test_read_clip_refuses_images(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        read_clip(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_load_weights_converts_dtypes(build_model, dtype):
    model, other = build_model(), build_model()
    weights = {key: value.to(dtype) for key, value in other.state_dict().items()}
    load_weights(model, weights, "file")
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key].float())


@pytest.mark.parametrize("nonscalar", [True, False])
def test_load_weights_reshapes_logit_scale(build_model, nonscalar):
    model, other = (build_model(nonscalar_logit_scale=flag) for flag in (nonscalar, not nonscalar))
    load_weights(model, other.state_dict(), "file")
    assert model.logit_scale.item() == other.logit_scale.item()


def test_load_weights_lists_all_problems_and_loads_nothing(build_model):
    model = build_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = build_model().state_dict()
    del weights["visual.proj"]
    for i in range(7):
        weights[f"extra.{i}"] = torch.zeros(1)
    weights["visual.conv1.weight"] = torch.zeros(32, 3, 16, 16)
    with pytest.raises(ValueError) as caught:
        load_weights(model, weights, "weights.pt")
    message = str(caught.value)
    assert "the weights of weights.pt do not fit" in message
    assert "1 missing: visual.proj;" in message
    assert "7 unexpected: extra.0, extra.1, extra.2, extra.3, extra.4, ...;" in message
    assert (
        "1 of another shape: visual.conv1.weight (32, 3, 16, 16) instead of (32, 3, 8, 8)."
        in message
    )
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_save_weights_round_trip(model, tmp_path):
    path = tmp_path / "clip.safetensors"
    save_weights(model, path, note="how")
    weights = read_clip(path).weights
    own = model.state_dict()
    assert weights.keys() == own.keys()
    for name, value in own.items():
        assert weights[name].dtype == (torch.float16 if value.is_floating_point() else value.dtype)
        torch.testing.assert_close(weights[name].float(), value.float(), rtol=1e-3, atol=1e-4)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"note": "how"}


def test_save_weights_refuses_overflow(model, tmp_path):
    with torch.no_grad():
        model.visual.proj[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"visual\.proj does not fit torch\.float16"):
        save_weights(model, tmp_path / "clip.safetensors")
    assert not list(tmp_path.iterdir())
