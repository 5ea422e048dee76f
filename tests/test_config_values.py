"""Every key of a config has a type and a range; a wrong value ends in one sentence."""

import math
import time
from pathlib import Path

import pytest

from ovseg_d2.config import KEYS, add_ovseg_config, check_config, load_config
from ovseg_d2.config.keys import value_of
from ovseg_d2.d2.config import CfgNode, get_cfg

ROOT = Path(__file__).resolve().parents[1]
HUGE = 10**400
# Values that no key takes.
NEVER = (math.nan, math.inf, -math.inf, HUGE, -HUGE, [None], [math.nan], [[[]]], [HUGE], {"a": 1})
# Values that some keys take.
SOMETIMES = (None, True, -1, 0, 2**31, 0.5, -0.5, 1e30, "", " ", "nan", "\0", "\ud800", "é" * 300)
SOMETIMES += ([], [0, 0], ["", ""], [2, 1], [-1], [True], ["a"] * 50, (), "[]", "None")


def set_key(cfg: CfgNode, key: str, value: object) -> None:
    section, _, name = key.rpartition(".")
    (value_of(cfg, section) if section else cfg)[name] = value


def leaves(node: CfgNode, prefix: str = "") -> set[str]:
    names = set()
    for name, value in node.items():
        below = f"{prefix}{name}"
        names |= leaves(value, f"{below}.") if isinstance(value, CfgNode) else {below}
    return names


def test_every_key_of_the_plugin_is_declared():
    plain = get_cfg()
    ours = leaves(load_config()) - leaves(plain)
    of_deeplab = {key for key in ours if key.startswith("MODEL.SEM_SEG_HEAD.")}  # its own head's
    assert ours - of_deeplab <= KEYS.keys()


def test_keys_allow_their_default_and_have_help():
    cfg = load_config()
    for name, key in KEYS.items():
        assert key.takes.fits(value_of(cfg, name)), name
        assert key.help and not key.help.endswith("."), name


@pytest.mark.parametrize("key", KEYS)
def test_wrong_value_is_refused_in_one_sentence(key):
    cfg = load_config()
    before = value_of(cfg, key)
    for value in (*NEVER, *SOMETIMES):
        set_key(cfg, key, value)
        try:
            check_config(cfg)
        except ValueError as error:
            assert key.rpartition(".")[2] in str(error)
            assert "\n" not in str(error) and len(str(error)) < 1000
        else:
            assert value not in NEVER and KEYS[key].takes.fits(value)
        set_key(cfg, key, before)
    for value in (math.nan, "{'a': 1}", "[[[]]]"):  # as on a command line
        with pytest.raises(ValueError, match=rf"{key} is .*; it takes .* \(.*\)"):
            load_config(None, [key, value])


BAD_VALUES = [
    ("MODEL.TEXT.TEMPLATES", "[0,0]", "a list of at least 1, each item text that is not empty"),
    ("MODEL.META_ARCHITECTURE", "''", "text that is not empty .name of a registered model"),
    ("MODEL.SEM_SEG_HEAD.NORM", "random", "one of '', 'BN', 'SyncBN', 'FrozenBN', 'GN', 'LN'"),
    ("DATASETS.TRAIN", "None", "a list, each item text that is not empty"),
    ("DATASETS.TEST", "None", "a list, each item text that is not empty"),
    ("INPUT.SEMANTIC.UNSEEN", "[2,1]", "a list, each item text .*classes, or class sets"),
    ("SOLVER.BETAS", "[-1]", "a list of 2, each a number of at least 0 and below 1"),
    ("MODEL.OVSEG.MASKFORMER.HEADS", "None", "a whole number from 1"),
    ("MODEL.OVSEG.MASKFORMER.EMBED_HIDDEN_DIM", "-1", "a whole number from 1"),
    ("MODEL.OVSEG.MASKFORMER.HEADS", "7", "DIM 256; give a number of heads that divides DIM"),
    ("MODEL.OVSEG.MASKFORMER.CONV_CHANNELS", "50", "give a multiple of 32"),
    ("SOLVER.BASE_LR", "1e400", "a number from 0 to 1000 .the learning rate"),
    ("SOLVER.STEPS", "(3, 2)", "each larger than the one before"),
    ("SOLVER.CHECKPOINT_PERIOD", "0", "a whole number of at least 1"),
    ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "takes two sizes, the smaller one first"),
    ("MODEL.RESNETS.OUT_FEATURES", "['res9']", "each item one of 'stem', 'res2'"),
    ("MODEL.PIXEL_MEAN", "[1.0]", "has 1 numbers and MODEL.PIXEL_STD 3"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_bad_values_name_key_and_remedy(key, value, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_config(None, [key, value])
    assert key in str(caught.value)


RESNETS = [
    (("RES5_DILATION", 4), "build_resnet_backbone takes 1 or 2"),
    (("NORM", "GN", "STEM_OUT_CHANNELS", 48), "NORM is GN, which has 32 groups"),
    (("DEPTH", 18), "set RES2_OUT_CHANNELS to 64"),
]


@pytest.mark.parametrize(("values", "words"), RESNETS, ids=str)
def test_resnet_values_that_contradict_each_other(values, words):
    opts = [f"MODEL.RESNETS.{word}" if i % 2 == 0 else word for i, word in enumerate(values)]
    assert load_config(None, ["MODEL.BACKBONE.NAME", "OVSegTimmBackbone", *opts])
    with pytest.raises(ValueError, match=words):
        load_config(None, ["MODEL.BACKBONE.NAME", "build_resnet_backbone", *opts])


def test_deeplab_resnet_values_that_contradict_each_other():
    opts = ["MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone", "MODEL.RESNETS.RES4_DILATION"]
    with pytest.raises(ValueError, match="RES4_DILATION is 2 and RES5_DILATION 1; set"):
        load_config(None, [*opts, "2"])


def test_error_names_the_file_of_a_wrong_value(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("SOLVER:\n  MAX_ITER: -1\nVERSION: 2\n")
    with pytest.raises(ValueError, match=r"^config file '.*a.yaml': SOLVER.MAX_ITER is -1; it"):
        load_config(path)
    with pytest.raises(ValueError, match=r"^SOLVER.MAX_ITER is 0; it takes a whole number of at"):
        load_config(path, ["SOLVER.MAX_ITER", "0"])
    assert load_config(path, ["SOLVER.MAX_ITER", "1"]).SOLVER.MAX_ITER == 1


def test_wrong_type_error_has_the_keys_help():
    with pytest.raises(ValueError, match=r"is 'x', of type str; it takes a whole number \(iterat"):
        load_config(None, ["SOLVER.MAX_ITER", "x"])


def test_check_config_is_fast():
    cfg = get_cfg()
    add_ovseg_config(cfg)
    start = time.perf_counter()
    for _ in range(10):
        check_config(cfg)
    assert (time.perf_counter() - start) / 10 < 0.02
