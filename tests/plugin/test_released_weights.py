"""Files of other projects in MODEL.WEIGHTS, exactly as they are published."""

import json
import logging
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import register_model
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from ovseg_d2.checkpoints import Converted, convert_ovseg, convert_pixelclip
from ovseg_d2.clip.training import uses_quick_gelu
from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import DefaultPredictor
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.loading import load_model

_ROOT = Path(__file__).resolve().parents[2]
_MASKFORMER = {
    **{"QUERIES": 5, "CONV_CHANNELS": 32, "MASK_CHANNELS": 8, "DIM": 16, "LAYERS": 2, "HEADS": 2},
    **{"HIDDEN_DIM": 16, "EMBED_HIDDEN_DIM": 16, "DROPOUT": 0.0},
}
OVSEG = (
    *("MODEL.META_ARCHITECTURE", "OVSeg", "MODEL.SEM_SEG_HEAD.NAME", "OVSegMaskFormerHead"),
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
    *("MODEL.TIMM.OUT_INDICES", "[1, 2]", "MODEL.OVSEG.PROMPT_DEPTH", "2"),
    *(str(w) for k, v in _MASKFORMER.items() for w in (f"MODEL.OVSEG.MASKFORMER.{k}", v)),
)
PIXELCLIP = (
    *("MODEL.META_ARCHITECTURE", "PixelCLIP"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegPixelCLIPClusterHead"),
    *("MODEL.PIXELCLIP.CLUSTERS", "5", "MODEL.PIXELCLIP.DECODER_CHANNELS", "[16, 16]"),
    *("MODEL.PIXELCLIP.IMAGE_SIZE", "[32, 32]"),
)
WORDS = ("MODEL.TEXT.CLASSES", "['red star', 'grass']", "MODEL.TEXT.TEMPLATES", "['{}']")
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """Let the tests see the log, whatever ran before."""
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    caplog.set_level(logging.INFO, logger="ovseg_d2")
    return caplog


@pytest.fixture
def config(tiny_opts: list[str]) -> Callable[..., Any]:
    """Give a function from keys and values to a config of the tiny CLIP."""
    return lambda *opts: load_config(None, [*tiny_opts, *WORDS, *opts])


def official_names(
    model: nn.Module, names: list[str], convert: Callable[[Mapping[str, Any]], Converted]
) -> dict[str, Tensor]:
    """Give a model's weights under a release's names, of which more may be given than it has."""
    state = model.state_dict()
    ours = {ours: name for ours, name in convert({name: name for name in names}).weights.items()}
    found = {name: state[key].clone() for key, name in ours.items() if key in state}
    missing = state.keys() - ours.keys()
    assert not {name for name in missing if "lately" not in name}
    return found


def ovseg_names(model: nn.Module) -> list[str]:
    state = list(model.state_dict())
    clip = [name for name in state if name.startswith("prompted.tower.model.")]
    names = [name.replace("prompted.tower.model.", "clip_adapter.clip_model.") for name in clip]
    names += [n.removeprefix("system.") for n in state if n.startswith("system.backbone.")]
    decoder = "sem_seg_head.pixel_decoder."
    both = ("weight", "bias")
    for n in (1, 2, 3, 4):
        for layer in (f"adapter_{n}", f"layer_{n}"):
            names += [f"{decoder}{layer}.{leaf}" for leaf in ("weight", "norm.weight", "norm.bias")]
    predictor = "sem_seg_head.predictor."
    layers = [f"{predictor}transformer.decoder.layers.{n}." for n in range(2)]
    for layer in layers:
        for attention in ("self_attn", "multihead_attn"):
            leaves = (*(f"in_proj_{leaf}" for leaf in both), *(f"out_proj.{leaf}" for leaf in both))
            names += [f"{layer}{attention}.{leaf}" for leaf in leaves]
        parts = ("linear1", "linear2", "norm1", "norm2", "norm3")
        names += [f"{layer}{part}.{leaf}" for part in parts for leaf in both]
    ends = ("transformer.decoder.norm", "input_proj", *(f"mask_embed.layers.{n}" for n in range(3)))
    ends = (*ends, *(f"class_embed.layers.{n}" for n in range(2)))
    names += [f"{predictor}{end}.{leaf}" for end in ends for leaf in both]
    names += [f"{predictor}query_embed.weight", *(f"{decoder}mask_features.{b}" for b in both)]
    prompts = "clip_adapter.clip_model.visual.mask_embedding"
    return [*names, prompts, "clip_adapter.non_object_embedding"]


def pixelclip_names(model: nn.Module) -> list[str]:
    layers = {"stem": "conv0", "convs1": "conv1.double_conv", "convs2": "conv2.double_conv"}
    layers["head"] = "proj"
    names = ["sem_seg_head.predictor.prompt_tokens"]
    for name in model.state_dict():
        if name.startswith("system.tower.model."):
            clip = name.removeprefix("system.tower.model.")
            names.append(f"sem_seg_head.predictor.clip_model.{clip}")
        elif name.startswith("system.teacher."):
            names.append(f"teacher_encoder.visual.{name.removeprefix('system.teacher.')}")
        elif name.startswith("system.decoder."):
            part, rest = name.removeprefix("system.decoder.").split(".", 1)
            names.append(f"head.{layers.get(part, part)}.{rest}")
    return names


CASES = {
    "ovseg": (OVSEG, ovseg_names, convert_ovseg),
    "pixelclip": (PIXELCLIP, pixelclip_names, convert_pixelclip),
}


@pytest.fixture
def released(config: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """Give a function that writes a release's file; it returns the path, and the right model."""

    def write(name: str, **others: Any) -> tuple[str, nn.Module]:
        opts, names, convert = CASES[name]
        torch.manual_seed(1)
        model = build_model(config(*opts, "MODEL.CLIP.QUICK_GELU", "on")).eval()
        model.may_answer = True
        weights = official_names(model, names(model), convert)
        weights |= {"criterion.empty_weight": torch.ones(3)} if name == "ovseg" else {}
        path = tmp_path / f"{name}.pth"
        torch.save({"model": weights, **others}, path)
        return str(path), model

    return write


def scores(model: nn.Module) -> Tensor:
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    return model([{"image": image}])[0]["sem_seg"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["load_model", "checkpointer", "predictor", "converted"])
def test_release_brings_its_activation_and_statistics(
    config: Callable[..., Any], released: Callable[..., Any], tmp_path: Path, name: str, way: str
) -> None:
    path, right = released(name, optimizer={"state": {}}, iteration=7)
    opts = (*CASES[name][0], "MODEL.CLIP.PRETRAINED", "random")
    if way == "checkpointer":
        model = build_model(config(*opts)).eval()
        Checkpointer(model).load(path)
    elif way == "predictor":
        model = DefaultPredictor(config(*opts, "MODEL.WEIGHTS", path)).model
    else:
        if way == "converted":
            convert(path, tmp_path / "converted.pth")
            path = str(tmp_path / "converted.pth")
        model = load_model(config(*opts, "MODEL.WEIGHTS", path))[0]
    torch.testing.assert_close(scores(model), scores(right))
    tower = model.text_bank.tower
    assert uses_quick_gelu(tower.model) is True
    assert tower.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    if name == "pixelclip":
        assert uses_quick_gelu(model.system.teacher) is True
    # The activation is seen in the result, and a user may still choose another.
    opts = (*opts, "MODEL.WEIGHTS", path, "MODEL.CLIP.QUICK_GELU", "off")
    other = load_model(config(*opts))[0]
    assert (scores(other) - scores(right)).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("name", "file"),
    [("ovseg", "ovseg_r101c_vitb16.yaml"), ("pixelclip", "pixelclip_vitb16_sa1b.yaml")],
)
def test_release_evaluates_through_its_paper_config(
    released: Callable[..., Any],
    tiny_opts: list[str],
    miniatures: Path,
    tmp_path: Path,
    name: str,
    file: str,
) -> None:
    """On all benchmarks of the config, with the results of the same weights under our names."""
    path, right = released(name)
    own = tmp_path / "own.pth"
    Checkpointer(right, str(tmp_path)).save("own")
    opts = [*tiny_opts, *CASES[name][0], "INPUT.MIN_SIZE_TEST", "24", "DATALOADER.NUM_WORKERS", "0"]
    opts += ["MODEL.TEXT.TEMPLATES", "['{}']"]
    results = []
    for weights in (path, str(own)):
        output = tmp_path / f"output{len(results)}"
        more = ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", str(output)]
        cfg = load_config(_ROOT / "configs" / "paper" / file, [*opts, *more])
        evaluate(cfg, load_model(cfg)[0])
        results.append(json.loads((output / "results.json").read_text()))
        assert list(results[-1]) == list(cfg.DATASETS.TEST)
    for dataset, numbers in results[0].items():
        assert numbers["images"] == 1
        assert numbers["mIoU"] == pytest.approx(results[1][dataset]["mIoU"])


def convert(path: str, output: Path) -> None:
    from ovseg_d2.checkpoints import convert_release
    from ovseg_d2.weight_files import read_state_dict

    release, converted = convert_release(read_state_dict(path), path)
    torch.save({"model": converted.weights, **release.training_entry()}, output)


def test_release_says_what_is_left_out(
    config: Callable[..., Any], released: Callable[..., Any], log: pytest.LogCaptureFixture
) -> None:
    path, _ = released("ovseg")
    load_model(config(*OVSEG, "MODEL.WEIGHTS", path))
    assert "MODEL.WEIGHTS is a release of OVSeg: " in log.text
    assert "left out are 1 (a constant of the losses): criterion.empty_weight" in log.text
    assert not [record for record in log.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", CASES)
def test_release_needs_no_other_weights(
    config: Callable[..., Any],
    released: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def look_up(*_: Any) -> None:
        raise AssertionError("other weights are looked for")

    monkeypatch.setattr("ovseg_d2.clip.load.find_published", look_up)
    monkeypatch.setattr("ovseg_d2.nets.timm_features.find_timm_weights", look_up)
    monkeypatch.setattr("ovseg_d2.clip.training.open_clip.get_pretrained_cfg", tag_of_a_test)
    monkeypatch.setattr("ovseg_d2.clip.load.open_clip.get_pretrained_cfg", tag_of_a_test)
    path, right = released(name)
    opts = (*CASES[name][0], "MODEL.CLIP.PRETRAINED", "published", "MODEL.TIMM.PRETRAINED", "timm")
    with pytest.raises(AssertionError, match="other weights are looked for"):
        build_model(config(*opts))
    for weights in (path, own_checkpoint(right, Path(path).parent)):
        model = load_model(config(*opts, "MODEL.WEIGHTS", weights))[0]
        torch.testing.assert_close(scores(model), scores(right))
    # Built and not loaded, it does not predict.
    model = build_model(config(*opts, "MODEL.WEIGHTS", path)).eval()
    with pytest.raises(ValueError, match="random weights, because MODEL.WEIGHTS holds its own"):
        scores(model)


def tag_of_a_test(_: str, tag: str) -> dict[str, Any]:
    colour = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    return {"hf_hub": "a/b", "quick_gelu": False, **colour} if tag == "published" else {}


def own_checkpoint(model: nn.Module, folder: Path) -> str:
    Checkpointer(model, str(folder / "output")).save("model_final")
    return str(folder / "output" / "model_final.pth")


@pytest.mark.parametrize("half", [False, True])
def test_adapted_clip_needs_published_weights_for_its_text_half_alone(
    config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    torch.manual_seed(1)
    source = build_model(config("MODEL.META_ARCHITECTURE", "MaskCLIP")).system.tower
    start = "visual." if half else ""
    clip = {k: v for k, v in source.model.state_dict().items() if k.startswith(start)}
    torch.save(clip, tmp_path / "adapted.pt")
    published = build_model(config("MODEL.META_ARCHITECTURE", "MaskCLIP")).system.tower
    torch.save(published.model.state_dict(), tmp_path / "published.pt")
    looked_up = []

    def look_up(*_: Any) -> Path:
        looked_up.append(True)
        return tmp_path / "published.pt"

    monkeypatch.setattr("ovseg_d2.clip.load.find_published", look_up)
    monkeypatch.setattr("ovseg_d2.clip.load.open_clip.get_pretrained_cfg", tag_of_a_test)
    opts = (*OVSEG, "MODEL.CLIP.PRETRAINED", "published", "MODEL.OVSEG.PROMPT_DEPTH", "0")
    model = build_model(config(*opts, "MODEL.OVSEG.CLIP_WEIGHTS", str(tmp_path / "adapted.pt")))
    assert bool(looked_up) == half
    found = model.prompted.tower.model
    assert torch.equal(found.visual.conv1.weight, source.model.visual.conv1.weight)
    right = published if half else source
    assert torch.equal(found.token_embedding.weight, right.model.token_embedding.weight)


def test_adapted_clip_of_another_depth_stays_beside_a_release(
    config: Callable[..., Any], released: Callable[..., Any], tmp_path: Path
) -> None:
    path, _ = released("ovseg")
    torch.manual_seed(3)
    adapted = build_model(config(*OVSEG, "MODEL.OVSEG.PROMPT_DEPTH", "1")).prompted
    weights = dict(adapted.tower.model.state_dict())
    torch.save({**weights, "visual.mask_embedding": adapted.prompts.data}, tmp_path / "a.pt")
    opts = (*OVSEG, "MODEL.OVSEG.CLIP_WEIGHTS", str(tmp_path / "a.pt"), "MODEL.WEIGHTS")
    own = own_checkpoint(load_model(config(*OVSEG, "MODEL.WEIGHTS", path))[0], tmp_path)
    for weights in (path, own):
        for load in (lambda cfg: load_model(cfg)[0], lambda cfg: DefaultPredictor(cfg).model):
            model = load(config(*opts, weights))
            assert torch.equal(model.prompted.prompts, adapted.prompts) and model.may_answer


def test_deeper_network_of_a_release_is_refused(
    config: Callable[..., Any], released: Callable[..., Any], log: Any
) -> None:
    path, _ = released("ovseg")
    content = torch.load(path)
    counter = "backbone.network.network.frozen.num_batches_tracked"
    torch.save({"model": {**content["model"], counter: torch.ones(1)}}, path)
    load_model(config(*OVSEG, "MODEL.WEIGHTS", path))
    for name in ("backbone.network.network.layer9.a", "clip_adapter.clip_model.visual.b"):
        torch.save({"model": {**content["model"], name: torch.ones(1)}}, path)
        log.clear()
        with pytest.raises(ValueError, match="does not fit OVSeg: 1 unexpected: .*it belongs in"):
            load_model(config(*OVSEG, "MODEL.WEIGHTS", path))
        assert "tensors are used" not in log.text


def test_checkpoint_that_lacks_a_part_of_its_clip_is_refused(
    config: Callable[..., Any], released: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovseg_d2.clip.training.open_clip.get_pretrained_cfg", tag_of_a_test)
    path, _ = released("pixelclip")
    content = torch.load(path)
    del content["model"]["sem_seg_head.predictor.clip_model.visual.proj"]
    torch.save(content, path)
    cfg = config(*PIXELCLIP, "MODEL.CLIP.PRETRAINED", "published", "MODEL.WEIGHTS", path)
    refusal = r"holds a CLIP, but not all of that of PixelCLIP: 1 missing: .*visual\.proj; give"
    for load in (load_model, DefaultPredictor):
        with pytest.raises(ValueError, match=refusal):
            load(cfg)


# --- files that belong elsewhere


def maskformer(model: nn.Module) -> dict[str, Tensor]:
    """Give the file of a MaskFormer of the same size: 150 classes, and no CLIP."""
    weights = official_names(model, ovseg_names(model), convert_ovseg)
    kept = ("backbone.", "sem_seg_head.")
    classes = "sem_seg_head.predictor.class_embed."
    weights = {k: v for k, v in weights.items() if k.startswith(kept) and classes not in k}
    shapes = {"weight": (151, 16), "bias": (151,)}
    return weights | {classes + leaf: torch.ones(shape) for leaf, shape in shapes.items()}


def test_maskformer_starts_a_training_and_does_not_predict(
    config: Callable[..., Any], tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    source = build_model(config(*OVSEG))
    clip = source.prompted.tower.model.state_dict()
    torch.save(clip, tmp_path / "clip.pt")
    arrays = {name: value.numpy() for name, value in maskformer(source).items()}
    (tmp_path / "r50.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}))
    opts = (*OVSEG, "MODEL.CLIP.PRETRAINED", str(tmp_path / "clip.pt"))
    torch.manual_seed(2)
    model = load_model(config(*opts, "MODEL.WEIGHTS", str(tmp_path / "r50.pkl")))[0]
    assert "holds no CLIP; that of MODEL.CLIP.PRETRAINED stays" in log.text
    key = "head.transformer_decoder.query_positions.weight"
    assert torch.equal(model.system.get_parameter(key), source.system.get_parameter(key))
    assert "2 (classes of the training; OVSeg's classes are texts)" in log.text
    assert "system.head.query_network.0.bias" in log.text
    with pytest.raises(ValueError, match="the network of this OVSeg has random weights"):
        scores(model)


_SWIN = ("layers.0.blocks.0.attn.relative_position_bias_table", "norm.weight")
_CLIP = "sem_seg_head.predictor.clip_model.visual."
REFUSALS = {
    "a Swin of ImageNet": (
        _SWIN,
        "is a Swin Transformer trained on ImageNet; it belongs in MODEL.TIMM.PRETRAINED",
    ),
    "PixelCLIP": (
        (f"{_CLIP}conv1.weight", "teacher_encoder.visual.conv1.weight"),
        "is a release of PixelCLIP and does not fit OVSeg: .*; it belongs in MODEL.WEIGHTS of conf",
    ),
    "SAN": (
        ("side_adapter_network.a", "clip_visual_extractor.b"),
        "is of another method, SAN; give a checkpoint of this model",
    ),
    "CAT-Seg": (
        (f"{_CLIP}proj", "sem_seg_head.predictor.transformer.layers.0.a"),
        "is of another method, CAT-Seg; give",
    ),
    "Mask2Former": (
        (
            "sem_seg_head.predictor.class_embed.weight",
            "sem_seg_head.predictor.transformer_cross_attention_layers.0.norm.bias",
        ),
        "is of another method, Mask2Former; give",
    ),
    "a relative of OVSeg": (
        (
            *("clip_adapter.clip_model.visual.proj", "sem_seg_head.predictor.a", "backbone.b"),
            *("clip_adapter.non_object_embedding", "region_clip_adapter.clip_model.visual.proj"),
        ),
        "has the names of a release of OVSeg; 'region_clip_adapter.* is not a weight of OVSeg's",
    ),
    "CLIP": (
        ("visual.conv1.weight", "logit_scale"),
        r"holds a CLIP alone; it belongs in MODEL.CLIP.PRETRAINED, or in MODEL.OVSEG.CLIP_WEIGHTS ",
    ),
    "Hugging Face": (
        ("text_model.a", "vision_model.b", "logit_scale"),
        r"holds a CLIP alone; it belongs in MODEL.CLIP.PRETRAINED",
    ),
}


MASKCLIP_FILES = {
    "texts": (torch.ones(20, 32), "it holds the text embeddings of 20 classes, as MaskCLIP's code"),
    "weights": (
        {
            "clip": {f"{part}.weight": torch.ones(1) for part in ("ln0", "layers.0.attn.attn")}
            | {"cls_token": torch.ones(1)},
            "proj": {"weight": torch.ones(1)},
        },
        "is an image half of OpenAI's CLIP .*; it belongs in MODEL.CLIP.IMAGE_WEIGHTS",
    ),
}


@pytest.mark.parametrize("name", MASKCLIP_FILES)
@pytest.mark.parametrize("load", [load_model, DefaultPredictor])
def test_files_of_maskclips_code_are_refused_by_name(
    config: Callable[..., Any], tmp_path: Path, name: str, load: Callable[..., Any]
) -> None:
    content, refusal = MASKCLIP_FILES[name]
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=refusal):
        load(config("MODEL.CLIP.PRETRAINED", "absent.pt", "MODEL.WEIGHTS", str(tmp_path / "a.pth")))


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("load", [load_model, DefaultPredictor])
def test_file_of_another_method_is_refused_by_name(
    config: Callable[..., Any], tmp_path: Path, name: str, load: Callable[..., Any]
) -> None:
    names, refusal = REFUSALS[name]
    # Nothing else is looked for before.
    opts = (*OVSEG, "MODEL.CLIP.PRETRAINED", "absent.pt")
    torch.save({"model": {key: torch.ones(1) for key in names}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=refusal) as caught:
        load(config(*opts, "MODEL.WEIGHTS", str(tmp_path / "a.pth")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_model, DefaultPredictor])
def test_imagenets_swin_of_maskformers_tool_is_refused(
    config: Callable[..., Any], tmp_path: Path, load: Callable[..., Any]
) -> None:
    # Its names would be matched to those of any Swin by their ends.
    content = {"model": {name: np.ones(1, np.float32) for name in _SWIN}}
    content |= {"__author__": "third_party", "matching_heuristics": True}
    (tmp_path / "swin.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"swin.pkl' is a Swin .*belongs in MODEL.TIMM.PRETRAINED"):
        load(config(*OVSEG, "MODEL.WEIGHTS", str(tmp_path / "swin.pkl")))


@pytest.mark.parametrize("load", [load_model, DefaultPredictor])
def test_openai_archive_is_refused_with_its_key(
    config: Callable[..., Any], tmp_path: Path, load: Callable[..., Any]
) -> None:
    clip = nn.Module()
    clip.visual, clip.logit_scale = nn.Linear(1, 1), nn.Parameter(torch.ones(()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(clip).save(tmp_path / "ViT-B-16.pt")
    with pytest.raises(ValueError, match=r"ViT-B-16.pt' holds a CLIP alone; .*CLIP.PRETRAINED"):
        load(config(*OVSEG, "MODEL.WEIGHTS", str(tmp_path / "ViT-B-16.pt")))


def test_counters_of_batches_are_no_shared_names(
    config: Callable[..., Any], tmp_path: Path
) -> None:
    cfg = config(*OVSEG)
    counters = {k: v for k, v in build_model(cfg).state_dict().items() if "num_batches" in k}
    assert counters
    torch.save({**counters, "other": torch.ones(1)}, tmp_path / "a.pth")
    for load in (load_model, DefaultPredictor):
        with pytest.raises(ValueError, match=r"does not fit OVSeg: \d+ missing: .*; 1 unexpected"):
            load(config(*OVSEG, "MODEL.WEIGHTS", str(tmp_path / "a.pth")))


# --- the official models of the parity cases


@register_model
def swin_released_golden(pretrained: bool = False, **options: Any) -> SwinTransformer:
    """Build the Swin of the parity case; ``pretrained`` is not read."""
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(name, None)
    size = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 4, 8), "window_size": 4}
    return SwinTransformer(**{**options, **size})


def clip_file(path: Path, about: Mapping[str, Any], image_size: int) -> str:
    """Write the config of a case's CLIP, whose activation is GELU until a release says more."""
    text = {"width": about["text_width"], "heads": about["text_width"] // 64}
    vision = {"image_size": image_size, "patch_size": about["patch_size"], "head_width": 64}
    vision |= {"width": about["vision_width"], "layers": about["vision_layers"]}
    text |= {"layers": about["text_layers"], "context_length": 77, "vocab_size": 49408}
    clip = {"embed_dim": about["embed_dim"], "vision_cfg": vision, "text_cfg": text}
    path.write_text(json.dumps(clip))
    return str(path)


@torch.no_grad()
def test_golden_ovseg_gives_official_segmentation(
    parity: Callable[[str], Any], tmp_path: Path
) -> None:
    case = parity("ovseg_full_model")
    about, call = case.construct, case.subcases["eval"]
    weights = dict(case.weights)
    # The case has a tower of two blocks, so that the third row of its prompts enters none.
    prompts = "clip_adapter.clip_model.visual.mask_embedding"
    weights[prompts] = weights[prompts][:2].clone()
    torch.save({"model": weights}, tmp_path / "ovseg.pth")
    head = about["head_cfg"]
    sizes = {
        **{"QUERIES": head["num_queries"], "CONV_CHANNELS": head["convs_dim"]},
        **{"MASK_CHANNELS": head["mask_dim"], "DIM": head["hidden_dim"]},
        **{"LAYERS": head["dec_layers"], "HEADS": head["nheads"], "DROPOUT": 0.0},
        **{"HIDDEN_DIM": head["dim_feedforward"], "EMBED_HIDDEN_DIM": head["embed_hidden_dim"]},
    }
    clip = clip_file(tmp_path / "clip.json", about["clip"], about["clip"]["clip_resolution"])
    opts = [
        *("MODEL.CLIP.NAME", clip, "MODEL.CLIP.PRETRAINED", "openai", "MODEL.DEVICE", "cpu"),
        *("MODEL.TIMM.NAME", "swin_released_golden", "MODEL.WEIGHTS", str(tmp_path / "ovseg.pth")),
        *("MODEL.TIMM.DROP_PATH", "0.0", "MODEL.OVSEG.PROMPT_DEPTH", "2"),
        *("MODEL.OVSEG.LAMBDA", str(call.args["clip_ensemble_weight"])),
        *("MODEL.OVSEG.OFFICIAL", "True", "MODEL.TEXT.CLASSES", str(about["class_names"])),
        *(str(w) for k, v in sizes.items() for w in (f"MODEL.OVSEG.MASKFORMER.{k}", v)),
    ]
    model, note = load_model(load_config(_ROOT / "configs/paper/ovseg_swinb_vitl14.yaml", opts))
    assert note == ""
    image = call.inputs["image"].float()
    size = {"height": call.args["height"], "width": call.args["width"]}
    call.check("sem_seg", model([{"image": image, **size}])[0]["sem_seg"])


@torch.no_grad()
def test_golden_pixelclip_gives_official_segmentation(
    parity: Callable[[str], Any], tmp_path: Path
) -> None:
    case = parity("pixelclip_full_model")
    about, call = case.construct, case.subcases["eval"]
    torch.save({"model": case.weights}, tmp_path / "pixelclip.pth")
    clip = clip_file(tmp_path / "clip.json", about, about["image_resolution"])
    opts = [
        *("MODEL.CLIP.NAME", clip, "MODEL.CLIP.PRETRAINED", "openai", "MODEL.DEVICE", "cpu"),
        *("MODEL.WEIGHTS", str(tmp_path / "pixelclip.pth")),
        *("MODEL.PIXELCLIP.IMAGE_SIZE", str(about["clip_resolution"])),
        *("MODEL.PIXELCLIP.MASK_SIZE", str(about["mask_resolution"])),
        *("MODEL.PIXELCLIP.CLUSTERS", str(about["num_clusters"])),
        *("MODEL.PIXELCLIP.PROMPT_LENGTH", str(about["prompt_length"])),
        *("MODEL.PIXELCLIP.OFFICIAL", "True", "MODEL.TEXT.TEMPLATES", "['pixelclip_single']"),
    ]
    model, _ = load_model(load_config(_ROOT / "configs/paper/pixelclip_vitb16_sa1b.yaml", opts))
    size = {"height": call.args["height"], "width": call.args["width"]}
    words = ",".join(name.replace(", ", "|") for name in about["test_classes"])
    given = {"image": call.inputs["image"], "classes": words, **size}
    call.check("sem_seg", model([given])[0]["sem_seg"])
