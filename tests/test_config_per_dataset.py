"""``TEST.DATASETS`` in files and on command lines: how it merges, and what it refuses."""

import pytest

from ovseg_d2.config import dataset_config, load_config
from ovseg_d2.config.keys import value_of

BASE = """\
VERSION: 2
TEST:
  DATASETS:
    ovseg_voc20_val: {MODEL: {OVSEG: {LAMBDA: 0.45}}, INPUT: {MIN_SIZE_TEST: 640}}
"""
CHILD = """\
_BASE_: base.yaml
VERSION: 2
MODEL: {OVSEG: {LAMBDA: 0.6}}
TEST:
  DATASETS:
    ovseg_voc20_val: {INPUT: {MIN_SIZE_TEST: 320}, MODEL: {TEXT: {TEMPLATES: ["a {}"]}}}
    ovseg_ade150_val: {MODEL: {MASKCLIP: {WINDOW: 224}}}
"""


def test_files_and_command_lines_merge_key_by_key(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "child.yaml").write_text(CHILD)
    key = "TEST.DATASETS.ovseg_voc20_val"
    opts = [f"{key}.TEST.OWN_WORDS", "True", f"{key}.INPUT.MAX_SIZE_TEST", "999"]
    cfg = load_config(tmp_path / "child.yaml", opts)
    voc, ade = (dataset_config(cfg, f"ovseg_{name}_val") for name in ("voc20", "ade150"))
    assert (voc.MODEL.OVSEG.LAMBDA, voc.INPUT.MIN_SIZE_TEST) == (0.45, 320)
    assert (voc.MODEL.TEXT.TEMPLATES, voc.TEST.OWN_WORDS) == (["a {}"], True)
    assert voc.INPUT.MAX_SIZE_TEST == 999 and voc.MODEL.MASKCLIP.WINDOW == 0
    assert (ade.MODEL.OVSEG.LAMBDA, ade.MODEL.MASKCLIP.WINDOW) == (0.6, 224)
    assert dataset_config(cfg, "ovseg_voc21_val") is cfg
    assert cfg.MODEL.OVSEG.LAMBDA == 0.6 and cfg.TEST.OWN_WORDS is False
    (tmp_path / "again.yaml").write_text(cfg.dump())
    assert load_config(tmp_path / "again.yaml").TEST == cfg.TEST


def test_later_key_of_a_command_line_counts(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(BASE)

    def lambdas(*opts):
        cfg = load_config(path, opts)
        voc = dataset_config(cfg, "ovseg_voc20_val")
        assert voc.INPUT.MIN_SIZE_TEST == 640
        return cfg.MODEL.OVSEG.LAMBDA, voc.MODEL.OVSEG.LAMBDA

    everywhere = ("MODEL.OVSEG.LAMBDA", "0.2")
    of_voc = ("TEST.DATASETS.ovseg_voc20_val.MODEL.OVSEG.LAMBDA", "0.3")
    assert lambdas() == (0.7, 0.45)
    assert lambdas(*everywhere) == lambdas(*of_voc, *everywhere) == (0.2, 0.2)
    assert lambdas(*everywhere, *of_voc) == (0.2, 0.3)
    assert lambdas("MODEL.TEXT.SYNONYMS", "max") == (0.7, 0.45)
    path.write_text("VERSION: 2\nTEST: {DATASETS: {a: {MODEL: 3}, b: 4}}\n")
    with pytest.raises(ValueError, match="TEST.DATASETS is .*; it takes sections of keys"):
        load_config(path, everywhere)


def test_copy_is_frozen_as_the_config():
    cfg = load_config(None, ["TEST.DATASETS.ovseg_voc20_val.MODEL.OVSEG.LAMBDA", "0.1"])
    assert not dataset_config(cfg, "ovseg_voc20_val").is_frozen()
    cfg.freeze()
    assert dataset_config(cfg, "ovseg_voc20_val").is_frozen()
    assert load_config().TEST.DATASETS == {}  # the default is not shared


PER_RUN = [
    "MODEL.CLIP.NAME",
    "MODEL.OVSEG.PROMPT_DEPTH",
    "MODEL.OVSEG.MASKFORMER.QUERIES",
    "MODEL.WEIGHTS",
    "DATASETS.TEST",
    "SOLVER.MAX_ITER",
    "TEST.EVAL_PERIOD",
    "INPUT.MIN_SIZE_TRAIN",
]


@pytest.mark.parametrize("key", PER_RUN)
def test_keys_of_weights_training_and_data_are_refused(key):
    value = str(value_of(load_config(), key))
    with pytest.raises(ValueError, match=rf"^TEST.DATASETS.a: {key} is one for all datasets; set"):
        load_config(None, [f"TEST.DATASETS.a.{key}", value])


WRONG = [
    ("a.MODEL.OVSEG.LAMDA", "1.0", "Non-existent key: MODEL.OVSEG.LAMDA"),
    ("a.MODEL.OVSEG.LAMBDA", "x", "MODEL.OVSEG.LAMBDA is 'x', of type str; it takes a number"),
    (
        "a.MODEL.OVSEG.LAMBDA",
        "3.0",
        "^TEST.DATASETS.a: MODEL.OVSEG.LAMBDA is 3.0; it takes",
    ),
    ("a.MODEL.MASKCLIP.STRIDE", "9", "^TEST.DATASETS.a: MODEL.MASKCLIP.STRIDE is 9 .* larger"),
    ("a.MODEL.OVSEG", "1", "MODEL.OVSEG is 1, of type int; it takes keys of its own"),
    ("a", "1", "it names no key; put one behind the dataset, as in TEST.DATASETS.a.MODEL.OVSEG"),
    ("a.TEST.DATASETS.b.TEST.OWN_WORDS", "True", "Non-existent key"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_wrong_overrides_are_one_sentence(key, value, words):
    window = ["MODEL.MASKCLIP.WINDOW", "8"]
    with pytest.raises(ValueError, match=words) as caught:
        load_config(None, [*window, f"TEST.DATASETS.{key}", value])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{a: {MODEL: {OVSEG: {LAMDA: 1.0}}}}", "^TEST.DATASETS.a: Non-existent config key: MODEL"),
        ("{a: {MODEL: {OVSEG: {LAMBDA: x}}}}", "^TEST.DATASETS.a: MODEL.OVSEG.LAMBDA is 'x', of"),
        ("{a: {MODEL: 3}}", "^TEST.DATASETS.a: MODEL is 3, of type int; it takes keys"),
        ("{a: 3}", "^config file '.*': TEST.DATASETS is .*; it takes sections of keys"),
        ("{a: {TEST: {DATASETS: {b: {}}}}}", "^TEST.DATASETS.a: Non-existent config key: TEST"),
    ],
)
def test_wrong_overrides_of_a_file_are_one_sentence(text, words, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"VERSION: 2\nTEST: {{DATASETS: {text}}}\n")
    with pytest.raises(ValueError, match=words):
        load_config(path)
