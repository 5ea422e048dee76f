"""Tower, last block and text bank from a config."""

import json

import pytest
import torch

from ovseg_d2.clip import Affinity, Calibration, LastBlock
from ovseg_d2.plugin.clip_parts import build_last_block, build_text_bank, build_tower


def test_keys_reach_the_tower(tiny_cfg):
    tower = build_tower(tiny_cfg("MODEL.CLIP.PATCH_DROPOUT", "0.25"))
    assert tower.patch_size == (8, 8)
    assert tower.embed_dim == 32
    assert tower.model.visual.patch_dropout.prob == 0.25


@pytest.mark.parametrize(
    ("in_file", "key", "quick"),
    [(False, "auto", False), (True, "auto", True), (True, "off", False), (False, "on", True)],
)
def test_quick_gelu_key_overrides_the_file(
    tiny_cfg, tiny_clip_config, tmp_path, in_file, key, quick
):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**tiny_clip_config, "quick_gelu": in_file}))
    tower = build_tower(tiny_cfg("MODEL.CLIP.NAME", str(path), "MODEL.CLIP.QUICK_GELU", key))
    kinds = {type(m).__name__ for m in tower.model.modules() if "GELU" in type(m).__name__}
    assert kinds == {"QuickGELU" if quick else "GELU"}


def test_quick_gelu_refuses_unknown_values(tiny_cfg):
    with pytest.raises(ValueError, match="QUICK_GELU is 'yes'; it takes one of 'auto', 'on'"):
        build_tower(tiny_cfg("MODEL.CLIP.QUICK_GELU", "yes"))


def test_keys_reach_the_last_block(tiny_cfg):
    prefix = "MODEL.CLIP.LAST_BLOCK."
    opts = ["RESIDUAL", "none", "MLP", "False", "ATTENTION", "neighbourhood_kk"]
    opts += ["NEIGHBOURHOOD_STD", "3.0"]
    opts[::2] = [prefix + key for key in opts[::2]]
    block = build_last_block(tiny_cfg(*opts))
    assert (block.residual, block.mlp, block.attention) == ("none", False, "neighbourhood_kk")
    assert block.neighbourhood_std == 3.0
    with pytest.raises(ValueError, match="ATTENTION is 'all'; it takes one of 'value'"):
        build_last_block(tiny_cfg(prefix + "ATTENTION", "all"))


def test_keys_reach_affinity_and_calibration(tiny_cfg):
    values = {
        **{"AFFINITY.MEAN_WEIGHT": 1.5, "AFFINITY.SCALE": 7.0, "AFFINITY.BLOCK": 2},
        **{"CALIBRATION.OUTLIER_SHARE": 0.1, "CALIBRATION.OUTLIER_NEIGHBOURS": 8},
        **{"CALIBRATION.AFFINITY_BLOCK": 6, "CALIBRATION.MIXING_BLOCK": 3},
        **{"CALIBRATION.THRESHOLD": 0.3, "CALIBRATION.FIRST_LEVEL": 2},
        **{"CALIBRATION.LAST_LEVEL": 5, "CALIBRATION.CLASS_SHARE": 0.2},
    }
    opts = [str(x) for key, v in values.items() for x in (f"MODEL.CLIP.LAST_BLOCK.{key}", v)]
    block = build_last_block(tiny_cfg(*opts))
    assert block.affinity == Affinity(mean_weight=1.5, scale=7.0, block=2)
    assert block.calibration == Calibration(0.1, 8, 6, 3, 0.3, 2, 5, 0.2)
    assert build_last_block(tiny_cfg()) == LastBlock()
    with pytest.raises(ValueError, match="FIRST_LEVEL is 11 and LAST_LEVEL 10; give the last"):
        tiny_cfg("MODEL.CLIP.LAST_BLOCK.CALIBRATION.FIRST_LEVEL", "11")


def test_keys_reach_the_text_bank(tiny_cfg, tmp_path):
    folder = tmp_path / "cache"
    cfg = tiny_cfg(
        *("MODEL.TEXT.TEMPLATES", "['a {}', 'the {}']", "MODEL.TEXT.SYNONYMS", "joined"),
        *("MODEL.TEXT.CACHE_DIR", str(folder), "MODEL.TEXT.BATCH_SIZE", "7"),
    )
    bank = build_text_bank(cfg, build_tower(cfg))
    assert list(bank.templates) == ["a {}", "the {}"]
    assert (bank.synonyms, bank.cache_dir, bank.batch_size) == ("joined", folder, 7)


def test_templates_are_a_sets_name_or_a_list(tiny_cfg):
    cfg = tiny_cfg("MODEL.TEXT.TEMPLATES", "['imagenet']")
    tower = build_tower(cfg)
    assert len(build_text_bank(cfg, tower).templates) == 80
    cfg.MODEL.TEXT.TEMPLATES = ["one {}"]
    bank = build_text_bank(cfg, tower)
    assert list(bank.templates) == ["one {}"]
    assert bank.cache_dir is None
    cfg.MODEL.TEXT.TEMPLATES = ["nothing"]
    with pytest.raises(ValueError, match="nothing"):
        build_text_bank(cfg, tower)


def test_build_tower_loads_a_weight_file(tiny_cfg, tmp_path):
    first = build_tower(tiny_cfg())
    path = tmp_path / "weights.pt"
    torch.save(first.model.state_dict(), path)
    again = build_tower(tiny_cfg("MODEL.CLIP.PRETRAINED", str(path)))
    for name, tensor in again.model.state_dict().items():
        torch.testing.assert_close(tensor, first.model.state_dict()[name])


def test_build_tower_of_official_maskclip(tiny_cfg):
    plain = build_tower(tiny_cfg("MODEL.CLIP.QUICK_GELU", "on"))
    tower = build_tower(
        tiny_cfg(
            *("MODEL.CLIP.QUICK_GELU", "text", "MODEL.CLIP.LAYER_NORM_EPS", "1e-6"),
            *("MODEL.CLIP.PIXEL_MEAN", "[0.485, 0.456, 0.406]"),
            *("MODEL.CLIP.PIXEL_STD", "[0.229, 0.224, 0.225]"),
        )
    )
    assert tower.mean == (0.485, 0.456, 0.406) and tower.std == (0.229, 0.224, 0.225)
    assert plain.mean != tower.mean
    kinds = [type(m).__name__ for m in tower.model.visual.modules() if "GELU" in type(m).__name__]
    assert kinds and set(kinds) == {"GELU"}
    texts = [type(m).__name__ for m in tower.model.transformer.modules()]
    assert "QuickGELU" in texts and "GELU" not in texts
    assert tower.model.visual.ln_post.eps == 1e-6
    assert tower.model.ln_final.eps == 1e-5


def test_layer_norm_eps_refused_for_a_resnet(tiny_cfg):
    cfg = tiny_cfg("MODEL.CLIP.NAME", "RN50", "MODEL.CLIP.LAYER_NORM_EPS", "1e-6")
    with pytest.raises(ValueError, match=r"layer_norm_eps=1e-06, which convolutional"):
        build_tower(cfg)
