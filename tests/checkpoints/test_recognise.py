"""Released weights are recognised by their names, and every tensor is accounted for."""

import json
from pathlib import Path

import pytest
import torch

from ovseg_d2.checkpoints import RELEASES, recognise

_LAYOUTS = Path(__file__).resolve().parents[3] / "shared" / "parity" / "layouts"
_TOTALS = {
    "ovseg_swinb_vitl14_mp3": ("ovseg", 927, 27),
    "ovseg_r101c_vitb16_mp3": ("ovseg", 980, 3),
    "pixelclip_vitb16": ("pixelclip", 475, 6),
    "pixelclip_convnext_base": ("pixelclip", 857, 6),
}


@pytest.mark.parametrize("name", _TOTALS)
def test_recognise_official_layouts(name: str) -> None:
    path = _LAYOUTS / f"{name}.json"
    if not path.is_file():
        pytest.skip("the layouts of released checkpoints are not here")
    weights = {
        key: torch.empty(shape, device="meta") for key, shape, _ in json.loads(path.read_text())
    }
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
