"""Every model name of open_clip against the table of docs/towers.md.

Towers are built with two blocks, on the meta device: shapes without values. The values are those of
the tests of each kind of tower, on tiny ones.
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import open_clip
import pytest
import timm
import torch

import ovseg_d2.clip.load as load_module
from ovseg_d2.clip import CLIPTower, LastBlock, load_clip, text

DOCUMENT = Path(__file__).parents[2] / "docs" / "towers.md"
ATTENTIONS = {
    "all": ("value", "full", "qq", "kk", "qq+kk", "neighbourhood_kk"),
    "the default": ("value",),
    "value, full": ("value", "full"),
}


class Row(NamedTuple):
    family: str
    patterns: list[str]
    number: int
    dense: str
    last_block: str
    text: str


def read_rows():
    rows = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[2].isdigit():
            patterns = re.findall("`([^`]+)`", cells[1])
            rows.append(Row(cells[0], patterns, int(cells[2]), *cells[3:]))
    return rows


ROWS = read_rows()


def row_of(name):
    return next(row for row in ROWS if any(fnmatchcase(name, pattern) for pattern in row.patterns))


def names_of(row):
    return [name for name in open_clip.list_models() if row_of(name) is row]


@pytest.fixture
def build_shallow(monkeypatch, tokenizer):
    """Give a function that builds a model of two image blocks and a text half of one, on meta."""
    create = timm.create_model

    def create_shallow(name, **options):
        if name.startswith("fastvit"):
            return create(name, **options, layers=(1,) * len(create(name).stages))
        depth = {"depths": (1,) * 4} if name.startswith("convnext") else {"depth": 2}
        return create(name, **options, **depth)

    monkeypatch.setattr(timm, "create_model", create_shallow)

    def build(name):
        config = open_clip.get_model_config(name)
        vision, of_text = config["vision_cfg"], config["text_cfg"]
        if not vision.get("timm_model_name"):
            vision["layers"] = [1] * 4 if isinstance(vision["layers"], list) else 2
        of_text = {key: value for key, value in of_text.items() if not key.startswith("hf_")}
        config["text_cfg"] = {**of_text, "layers": 1, "vocab_size": 16}
        config["custom_text"] = True
        if "multimodal_cfg" in config:
            config["multimodal_cfg"]["layers"] = 1
        with torch.device("meta"):
            model = load_module._build_model(config).eval()
        return CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3), config

    return build


@pytest.mark.skipif(not open_clip.__version__.startswith("3.3."), reason="names of open_clip 3.3")
def test_table_has_every_name():
    assert len(open_clip.list_models()) == 144
    assert {row.family: len(names_of(row)) for row in ROWS} == {r.family: r.number for r in ROWS}
    assert sum(row.number for row in ROWS if row.dense == "yes") == 142


def test_names_without_dense_features_are_refused_before_building():
    refused = [row for row in ROWS if row.dense != "yes"]
    assert all(row.dense.startswith("no: ") for row in refused)
    for name in (name for row in refused for name in names_of(row)):
        with pytest.raises(ValueError, match="which is not supported; choose a model whose"):
            load_clip(name, "random")


def test_text_halves_of_transformers_are_those_that_need_the_extra():
    for name in open_clip.list_models():
        needs = any(key.startswith("hf_") for key in open_clip.get_model_config(name)["text_cfg"])
        assert needs == (row_of(name).text == "extra `hf`") or row_of(name).dense != "yes", name


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("row", [r for r in ROWS if r.dense == "yes"], ids=lambda row: row.family)
def test_dense_features_and_text_of_every_name(build_shallow, row):
    kinds = row.last_block.split(",")[0].split(";")[0].split(" without")[0]
    attentions = ATTENTIONS.get(row.last_block) or ATTENTIONS[kinds]
    halves = set()  # names share theirs
    for number, name in enumerate(names_of(row)):
        config = open_clip.get_model_config(name)
        image_half = ("image", json.dumps([config["vision_cfg"], config["embed_dim"]]))
        text_half = ("text", json.dumps([config["text_cfg"], config["embed_dim"]]))
        if image_half not in halves:
            check_image_half(*build_shallow(name), attentions, every=number == 0)
        if text_half not in halves:
            check_text_half(config)
        halves |= {image_half, text_half}


def check_image_half(tower, config, attentions, *, every):
    height, width = (3 * tower.patch_size[0] + 5, 2 * tower.patch_size[1] + 1)
    images = torch.randn(1, 3, height, width, device="meta")
    for attention in attentions if every else ("value",):
        feats = tower.dense_feats(images, LastBlock(attention=attention))
        assert feats.shape == (1, config["embed_dim"], 4, 3), attention
    for attention in set(ATTENTIONS["all"]) - set(attentions) if every else ():
        with pytest.raises(ValueError, match=f"attention='{re.escape(attention)}'"):
            tower.dense_feats(images, LastBlock(attention=attention))
    assert tower.encode_image(images).shape == (1, config["embed_dim"])


def check_text_half(config):
    """Its vectors are open_clip's, with one block and few tokens."""
    of_text = {key: value for key, value in config["text_cfg"].items() if key[:3] != "hf_"}
    of_text |= {"layers": 1, "vocab_size": 16}
    half = open_clip.model._build_text_tower(config["embed_dim"], of_text).eval()
    token_ids = torch.zeros(2, half.context_length, dtype=torch.long)
    token_ids[:, :4] = torch.tensor([[1, 5, 7, 2], [1, 9, 2, 0]])
    ours = text.encode_token_embeds(half, text.embed_tokens(half, token_ids), token_ids)
    theirs = half(token_ids)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
