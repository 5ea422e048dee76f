"""Contract of ovseg_d2.d2.config, with detectron2 and with the stand-in."""

import copy
import io
import logging
import pickle

import pytest
from fvcore.common.config import CfgNode as FvcoreCfgNode

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import CfgNode, configurable, get_cfg

# Written down from detectron2's documentation of its config; every key that plugin code reads.
DEFAULTS = {
    "VERSION": 2,
    "OUTPUT_DIR": "./output",
    "SEED": -1,
    "CUDNN_BENCHMARK": False,
    "FLOAT32_PRECISION": "",
    "VIS_PERIOD": 0,
    "MODEL.DEVICE": "cuda",
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.WEIGHTS": "",
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.MASK_ON": False,
    "MODEL.KEYPOINT_ON": False,
    "MODEL.LOAD_PROPOSALS": False,
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHead",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": 255,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 54,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 128,
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": 4,
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": 1.0,
    "INPUT.MIN_SIZE_TRAIN": (800,),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice",
    "INPUT.MAX_SIZE_TRAIN": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.RANDOM_FLIP": "horizontal",
    "INPUT.CROP.ENABLED": False,
    "INPUT.CROP.TYPE": "relative_range",
    "INPUT.CROP.SIZE": [0.9, 0.9],
    "INPUT.FORMAT": "BGR",
    "INPUT.MASK_FORMAT": "polygon",
    "DATASETS.TRAIN": (),
    "DATASETS.TEST": (),
    "DATALOADER.NUM_WORKERS": 4,
    "DATALOADER.ASPECT_RATIO_GROUPING": True,
    "DATALOADER.SAMPLER_TRAIN": "TrainingSampler",
    "DATALOADER.REPEAT_THRESHOLD": 0.0,
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": True,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "SOLVER.MAX_ITER": 40000,
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.BASE_LR_END": 0.0,
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.NESTEROV": False,
    "SOLVER.WEIGHT_DECAY": 0.0001,
    "SOLVER.WEIGHT_DECAY_NORM": 0.0,
    "SOLVER.WEIGHT_DECAY_BIAS": None,
    "SOLVER.BIAS_LR_FACTOR": 1.0,
    "SOLVER.GAMMA": 0.1,
    "SOLVER.STEPS": (30000,),
    "SOLVER.NUM_DECAYS": 3,
    "SOLVER.WARMUP_FACTOR": 0.001,
    "SOLVER.WARMUP_ITERS": 1000,
    "SOLVER.WARMUP_METHOD": "linear",
    "SOLVER.RESCALE_INTERVAL": False,
    "SOLVER.CHECKPOINT_PERIOD": 5000,
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.REFERENCE_WORLD_SIZE": 0,
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "value",
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 1.0,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": 2.0,
    "SOLVER.AMP.ENABLED": False,
    "TEST.EXPECTED_RESULTS": [],
    "TEST.EVAL_PERIOD": 0,
    "TEST.AUG.ENABLED": False,
    "TEST.AUG.MIN_SIZES": (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
    "TEST.AUG.MAX_SIZE": 4000,
    "TEST.AUG.FLIP": True,
    "TEST.PRECISE_BN.ENABLED": False,
    "TEST.PRECISE_BN.NUM_ITER": 200,
}


@pytest.fixture
def write(tmp_path):
    """Write a YAML file into a folder of its own and return its path."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def d2_log():
    """What is logged under detectron2's name, whichever side logs; a function that reads it."""
    logger, stream = logging.getLogger("detectron2"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield stream.getvalue
    logger.removeHandler(handler)


class TestGetCfg:
    @pytest.mark.parametrize("key", DEFAULTS)
    def test_default(self, key):
        value = get_cfg()
        for part in key.split("."):
            value = value[part]
        assert value == DEFAULTS[key]
        assert type(value) is type(DEFAULTS[key])

    def test_copies_are_independent(self):
        first = get_cfg()
        first.MODEL.PIXEL_MEAN[0] = 0.0
        first.SOLVER.AMP.ENABLED = True
        assert get_cfg().MODEL.PIXEL_MEAN[0] == 103.53
        assert get_cfg().SOLVER.AMP.ENABLED is False

    def test_nodes_are_of_the_one_class_and_of_fvcores(self):
        cfg = get_cfg()
        assert type(cfg) is type(cfg.SOLVER.AMP) is CfgNode
        assert isinstance(cfg, FvcoreCfgNode)

    def test_survives_copy_pickle_and_dump(self, write):
        cfg = get_cfg()
        cfg.SOLVER.MAX_ITER = 7
        assert copy.deepcopy(cfg) == cfg
        assert pickle.loads(pickle.dumps(cfg)) == cfg
        other = get_cfg()
        other.merge_from_file(write("dump.yaml", cfg.dump()))
        for section in ("INPUT", "DATASETS", "SOLVER", "TEST"):
            assert other[section] == cfg[section]


class TestMergeFromFile:
    def test_values_replace_defaults(self, write):
        cfg = get_cfg()
        text = "VERSION: 2\nSOLVER: {MAX_ITER: 5}\nMODEL: {PIXEL_MEAN: [1.0, 2.0, 3.0]}\n"
        cfg.merge_from_file(write("a.yaml", text))
        assert cfg.SOLVER.MAX_ITER == 5
        assert cfg.MODEL.PIXEL_MEAN == [1.0, 2.0, 3.0]
        assert cfg.SOLVER.BASE_LR == 0.001

    def test_missing_file(self):
        with pytest.raises(AssertionError, match="Config file 'no/such.yaml' does not exist!"):
            get_cfg().merge_from_file("no/such.yaml")

    def test_base_is_relative_to_the_file_and_loses(self, write):
        write("base/top.yaml", "SOLVER: {MAX_ITER: 1, STEPS: [10, 20]}\nSEED: 1\n")
        write("base/middle.yaml", "_BASE_: top.yaml\nSOLVER: {MAX_ITER: 2, STEPS: [30]}\n")
        path = write("leaf.yaml", "_BASE_: base/middle.yaml\nVERSION: 2\nSEED: 3\n")
        cfg = get_cfg()
        cfg.merge_from_file(path)
        assert (cfg.SOLVER.MAX_ITER, cfg.SEED) == (2, 3)
        assert cfg.SOLVER.STEPS == (30,)  # lists replace, and become the default's tuple

    def test_of_several_bases_the_later_wins(self, write):
        write("a.yaml", "SEED: 1\nSOLVER: {MAX_ITER: 1}\n")
        write("b.yaml", "SEED: 2\n")
        cfg = get_cfg()
        cfg.merge_from_file(write("c.yaml", "_BASE_: [a.yaml, b.yaml]\nVERSION: 2\n"))
        assert (cfg.SEED, cfg.SOLVER.MAX_ITER) == (2, 1)

    def test_absolute_base(self, write):
        base = write("elsewhere/base.yaml", "SEED: 8\n")
        cfg = get_cfg()
        cfg.merge_from_file(write("leaf.yaml", f"_BASE_: {base}\nVERSION: 2\n"))
        assert cfg.SEED == 8

    def test_expressions_can_be_evaluated(self, write):
        text = (
            "VERSION: 2\nINPUT:\n"
            '  MIN_SIZE_TRAIN: !!python/object/apply:eval ["[64 * x for x in (5, 10)]"]\n'
        )
        cfg = get_cfg()
        cfg.merge_from_file(write("unsafe.yaml", text), allow_unsafe=True)
        assert cfg.INPUT.MIN_SIZE_TRAIN == (320, 640)

    def test_expressions_can_be_refused(self, write):
        path = write("unsafe.yaml", 'SEED: !!python/object/apply:eval ["1 + 1"]\n')
        with pytest.raises(Exception, match="could not determine a constructor"):
            get_cfg().merge_from_file(path, allow_unsafe=False)
        if not HAS_DETECTRON2:  # which evaluates them by default
            with pytest.raises(Exception, match="could not determine a constructor"):
                get_cfg().merge_from_file(path)

    def test_without_version_it_is_the_latest(self, write, d2_log):
        cfg = get_cfg()
        cfg.merge_from_file(write("a.yaml", "SEED: 4\n"))
        assert (cfg.SEED, cfg.VERSION) == (4, 2)
        assert "has no VERSION" in d2_log()

    def test_with_version_nothing_is_said(self, write, d2_log):
        get_cfg().merge_from_file(write("a.yaml", "VERSION: 2\n"))
        assert d2_log() == ""

    def test_later_version(self, write):
        with pytest.raises(AssertionError, match="Cannot merge a v3 config into a v2 config"):
            get_cfg().merge_from_file(write("a.yaml", "VERSION: 3\n"))

    @pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 upgrades old files")
    @pytest.mark.parametrize(
        "text", ["VERSION: 1\n", "MODEL: {WEIGHT: a.pkl}\n", "TEST: {AUG_ON: true}\n"]
    )
    def test_earlier_version(self, write, text):
        with pytest.raises(ValueError, match="is v1. Only detectron2 itself upgrades"):
            get_cfg().merge_from_file(write("a.yaml", text))

    def test_only_into_the_latest_version(self, write):
        cfg = get_cfg()
        cfg.VERSION = 1
        with pytest.raises(AssertionError, match="latest version"):
            cfg.merge_from_file(write("a.yaml", "VERSION: 2\n"))

    def test_unknown_key(self, write):
        with pytest.raises(KeyError, match="Non-existent config key: SOLVER.MAX_ITERS"):
            get_cfg().merge_from_file(write("a.yaml", "VERSION: 2\nSOLVER: {MAX_ITERS: 1}\n"))

    def test_integer_is_not_a_float(self, write):
        with pytest.raises(ValueError, match="SOLVER.BASE_LR"):
            get_cfg().merge_from_file(write("a.yaml", "VERSION: 2\nSOLVER: {BASE_LR: 1}\n"))


class TestMergeFromList:
    def test_strings_are_read_as_values(self):
        cfg = get_cfg()
        cfg.merge_from_list(["SOLVER.MAX_ITER", "3", "DATASETS.TEST", "('a', 'b')", "SEED", 5])
        assert (cfg.SOLVER.MAX_ITER, cfg.DATASETS.TEST, cfg.SEED) == (3, ("a", "b"), 5)

    def test_unknown_key(self):
        with pytest.raises(AssertionError, match="Non-existent key"):
            get_cfg().merge_from_list(["SOLVER.MAX_ITERS", 3])

    def test_odd_length(self):
        with pytest.raises(AssertionError):
            get_cfg().merge_from_list(["SOLVER.MAX_ITER"])

    def test_integer_is_not_a_float(self):
        with pytest.raises(ValueError, match="SOLVER.BASE_LR|Type mismatch"):
            get_cfg().merge_from_list(["SOLVER.BASE_LR", "1"])

    def test_base_is_for_files_only(self):
        with pytest.raises(AssertionError, match="_BASE_"):
            get_cfg().merge_from_list(["_BASE_", "x.yaml"])


def test_frozen():
    cfg = get_cfg()
    cfg.freeze()
    with pytest.raises(AttributeError, match="immutable"):
        cfg.SEED = 1
    cfg.defrost()
    cfg.SEED = 1
    assert cfg.SEED == 1


class Sizes:
    """A class whose config knows a and b, and lets the caller choose scale."""

    @configurable
    def __init__(self, a, b=2, *, c=3):
        self.values = (a, b, c)

    @classmethod
    def from_config(cls, cfg, scale=1):
        return {"a": cfg.A * scale, "b": cfg.B}


CFG = CfgNode({"A": 10, "B": 20})


class TestConfigurableInit:
    def test_explicit(self):
        assert Sizes(1).values == (1, 2, 3)
        assert Sizes(a=1, b=5, c=6).values == (1, 5, 6)

    def test_from_cfg(self):
        assert Sizes(CFG).values == (10, 20, 3)
        assert Sizes(cfg=CFG).values == (10, 20, 3)

    def test_of_fvcores_class(self):
        assert Sizes(FvcoreCfgNode({"A": 1, "B": 2})).values == (1, 2, 3)

    def test_arguments_of_from_config_go_there(self):
        assert Sizes(CFG, scale=3).values == (30, 20, 3)
        assert Sizes(CFG, 3).values == (30, 20, 3)

    def test_others_override(self):
        assert Sizes(CFG, b=7, c=8).values == (10, 7, 8)

    def test_var_arguments_receive_all(self):
        class Greedy:
            @configurable
            def __init__(self, a, b=0):
                self.values = (a, b)

            @classmethod
            def from_config(cls, cfg, **kwargs):
                return {"a": sorted(kwargs)}

        assert Greedy(CFG, b=1, c=2).values == (["b", "c"], 0)

    def test_subclass_replaces_from_config_alone(self):
        class Doubled(Sizes):
            @classmethod
            def from_config(cls, cfg, scale=1):
                return {**super().from_config(cfg, scale), "b": 2 * cfg.B}

        assert Doubled(CFG).values == (10, 40, 3)

    def test_subclass_with_init_of_its_own(self):
        class More(Sizes):
            @configurable
            def __init__(self, d, **kwargs):
                super().__init__(**kwargs)
                self.d = d

            @classmethod
            def from_config(cls, cfg):
                return {"d": 4, **super().from_config(cfg)}

        more = More(CFG)
        assert (more.values, more.d) == ((10, 20, 3), 4)

    def test_without_from_config(self):
        class Bare:
            @configurable
            def __init__(self, a):
                pass

        with pytest.raises(AttributeError, match="must have a 'from_config' classmethod"):
            Bare(CFG)

    def test_from_config_no_classmethod(self):
        class Plain:
            @configurable
            def __init__(self, a):
                pass

            def from_config(cls, cfg):
                return {"a": 1}

        with pytest.raises(TypeError, match="must have a 'from_config' classmethod"):
            Plain(CFG)

    def test_first_parameter_not_cfg(self):
        class Misnamed:
            @configurable
            def __init__(self, a):
                pass

            @classmethod
            def from_config(cls, config):
                return {"a": 1}

        with pytest.raises(TypeError, match="must take 'cfg' as the first argument"):
            Misnamed(CFG)

    def test_not_on_other_methods(self):
        with pytest.raises(AssertionError, match="Incorrect use of @configurable"):

            @configurable
            def build(a):
                return a

    def test_keeps_name_and_signature(self):
        assert Sizes.__init__.__name__ == "__init__"
        assert Sizes.__init__.__wrapped__ is not Sizes.__init__
