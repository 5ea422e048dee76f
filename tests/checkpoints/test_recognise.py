"""Released weights are recognised by their names, and every tensor is accounted for."""

import json
from pathlib import Path

import open_clip
import pytest
import torch

from ovseg_d2.checkpoints import (
    RELEASES,
    convert_pixelclip,
    convert_pixelclip_decoder,
    recognise,
)
from ovseg_d2.config import load_config
from ovseg_d2.nets import PixelCLIPDecoder

_ROOT = Path(__file__).resolve().parents[2]
_LAYOUTS = _ROOT.parent / "shared" / "parity" / "layouts"
_TOTALS = {
    "ovseg_swinb_vitl14_mp3": ("ovseg", 927, 27),
    "ovseg_r101c_vitb16_mp3": ("ovseg", 980, 3),
    "pixelclip_vitb16": ("pixelclip", 475, 6),
    "pixelclip_convnext_base": ("pixelclip", 857, 6),
}


def layout(name: str) -> dict[str, torch.Tensor]:
    path = _LAYOUTS / f"{name}.json"
    if not path.is_file():
        pytest.skip("the layouts of released checkpoints are not here")
    return {
        key: torch.empty(shape, device="meta") for key, shape, _ in json.loads(path.read_text())
    }


@pytest.mark.parametrize("name", _TOTALS)
def test_recognise_official_layouts(name: str) -> None:
    weights = layout(name)
    release = recognise(weights)
    assert release is not None and release.convert is not None
    converted = release.convert(weights)
    totals = release.name, len(converted.weights), len(converted.left_out)
    assert totals == _TOTALS[name]
    # Every tensor of the file arrives once, or is left out with a reason.
    arrived = {id(value) for value in converted.weights.values()}
    assert arrived == {id(v) for k, v in weights.items() if k not in converted.left_out}
    assert all(converted.left_out.values())
    assert (release.quick_gelu, release.mean is None) == ("convnext" not in name, False)


def test_recognise_knows_no_other_names() -> None:
    assert recognise(["visual.conv1.weight", "logit_scale"]) is None
    assert recognise([]) is None
    assert len({release.signs for release in RELEASES}) == len(RELEASES)


def test_convert_pixelclip_decoder_keeps_unknown_names() -> None:
    weights = {"strange": torch.zeros(1), "conv0.bias": torch.zeros(1)}
    assert set(convert_pixelclip_decoder(weights)) == {"strange", "stem.bias"}


@pytest.mark.parametrize(
    ("name", "config"),
    [("vitb16", "pixelclip_vitb16_sa1b"), ("convnext_base", "pixelclip_convnextb_sa1b")],
)
def test_convert_pixelclip_fills_the_paper_configs_model(name: str, config: str) -> None:
    found = convert_pixelclip(layout(f"pixelclip_{name}")).weights
    cfg = load_config(_ROOT / "configs" / "paper" / f"{config}.yaml")
    about = open_clip.get_model_config(cfg.MODEL.CLIP.NAME)
    about["vision_cfg"]["timm_model_pretrained"] = False
    with torch.device("meta"):
        clip = open_clip.CLIP(**about)
        decoder = PixelCLIPDecoder(channels=tuple(cfg.MODEL.PIXELCLIP.DECODER_CHANNELS))
    parts = {"tower.model.": clip, "teacher.": clip.visual, "decoder.": decoder}
    shapes = {
        f"system.{start}{key}": value.shape
        for start, part in parts.items()
        for key, value in part.state_dict().items()
    }
    options = cfg.MODEL.PIXELCLIP
    prompts = (options.CLUSTERS, options.PROMPT_LENGTH, clip.token_embedding.weight.shape[1])
    shapes["system.clusters.token_embeds"] = torch.Size(prompts)
    assert {key: value.shape for key, value in found.items()} == shapes
