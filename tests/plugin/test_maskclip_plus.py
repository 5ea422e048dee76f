"""MaskCLIP+ through detectron2: options, training, schedule and scores."""

import json

import numpy as np
import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.d2.utils.events import EventStorage
from ovseg_d2.data import labels as labels_module
from ovseg_d2.data import readers, shapes
from ovseg_d2.engine import evaluate
from ovseg_d2.ops import UNLABELLED, Refinement
from ovseg_d2.plugin import MaskCLIPPlus
from ovseg_d2.text import ClassTexts
from ovseg_d2.vocab import read_words

OPTS = (
    *("MODEL.META_ARCHITECTURE", "MaskCLIPPlus", "MODEL.BACKBONE.NAME", "OVSegTimmBackbone"),
    *("MODEL.TIMM.NAME", "test_resnet", "MODEL.TIMM.OUTPUT_STRIDE", "8"),
    *("MODEL.TIMM.OUT_INDICES", "[1, 2]", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']", "MODEL.DENSE_HEAD.DILATIONS", "[1, 2]"),
)
ZERO_SHOT = ("MODEL.MASKCLIP_PLUS.SETTING", "zero_shot", "INPUT.SEMANTIC.UNSEEN", "['novel']")
TRAIN = ("DATASETS.TRAIN", "('ovseg_shapes_train',)")
PICTURES = ("INPUT.TRAIN_MAPPER", "pictures")
SEMANTIC = ("INPUT.TRAIN_MAPPER", "semantic")
ONLY_IGNORED = ("INPUT.SEMANTIC.ONLY_IGNORED", "True")
WORDS = ["red star", "grass", "sand"]


def key(name, value):
    return f"MODEL.MASKCLIP_PLUS.{name}", str(value)


@pytest.fixture
def plus(build):
    """Give a function from further keys and values to a tiny MaskCLIP+ in evaluation mode."""
    return lambda *opts: build(*OPTS, *opts)


def batch(size=(32, 32), **entries):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator),
            **{name: value.clone() for name, value in entries.items()},
            "classes": WORDS,
        }
        for _ in range(2)
    ]


# --- options


def test_maskclip_plus_is_registered_and_trains_the_student(plus):
    assert META_ARCH_REGISTRY.get("MaskCLIPPlus") is MaskCLIPPlus
    model = plus()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("system.student.network.") for name in trained)
    assert plus(*key("LEARN_BACKGROUND", True)).system.student.classifier.background is not None


def test_options_reach_the_plain_system(plus, check_attributes):
    system = plus(
        *key("CONFIDENCE", 0.25),
        *key("TARGET", "features"),
        *key("FEATURE_WEIGHT", 2.0),
        *key("OFFICIAL", True),
        *key("LOGIT_SCALE", 20.0),
        *("MODEL.MASKCLIP.KEY_SMOOTHING", "1.0", "MODEL.MASKCLIP.PROMPT_DENOISING", "0.5"),
        *("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "254", "MODEL.CLIP.LAST_BLOCK.RESIDUAL", "none"),
    ).system
    expected = {"setting": "annotation_free", "confidence": 0.25, "ignore": 254}
    expected |= {"distill_features": True, "feature_weight": 2.0, "official": True}
    expected |= {"teacher.refine": Refinement(prompt_denoising=0.5, key_smoothing=1.0)}
    expected |= {"teacher.last_block.residual": "none", "student.classifier.logit_scale": 20}
    check_attributes(system, expected)
    defaults = {"student.classifier.logit_scale": None, "confidence": None}
    check_attributes(plus().system, {**defaults, "distill_features": False})


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (key("SETTING", "free"), "SETTING is 'free'; it takes one of"),
        (key("SELF_TRAINING", "maybe"), "SELF_TRAINING is 'maybe'; it takes one of 'auto'"),
        (key("SELF_TRAINING_START", 1.5), "SELF_TRAINING_START is 1.5; it takes a share"),
        (key("TARGET", "pixels"), "TARGET is 'pixels'; it takes one of 'labels'"),
        (key("CONFIDENCE", 2.0), "CONFIDENCE is 2.0; it takes a share"),
        (key("LOGIT_SCALE", -2.0), "LOGIT_SCALE is -2.0; it takes a number from 0"),
        ((*key("TARGET", "features"), *key("SELF_TRAINING", "on")), "on is about labels"),
        (("MODEL.MASKCLIP.BACKGROUND_THRESHOLD", "0.1"), "BACKGROUND_THRESHOLD and _MIN_SHARE"),
        (("MODEL.MASKCLIP.WINDOW", "16"), "leave MODEL.MASKCLIP.WINDOW 0"),
        (("MODEL.MASKCLIP.SHIFTS", "2"), "leave MODEL.MASKCLIP.SHIFTS 1"),
        (
            (
                *ZERO_SHOT[:2],
                *("INPUT.SEMANTIC.UNSEEN", "['cow']", *TRAIN, *SEMANTIC),
            ),
            "UNSEEN, dataset 'ovseg_shapes_train': 'cow' is neither one of the 80 classes nor of",
        ),
        ((*ZERO_SHOT, *TRAIN, *PICTURES), "TRAIN_MAPPER 'pictures' reads no labels of classes, .*"),
        ((*ZERO_SHOT, *TRAIN, *SEMANTIC, *ONLY_IGNORED), "ONLY_IGNORED True hides the labels"),
        ((*ZERO_SHOT[:2], *TRAIN, *SEMANTIC), "UNSEEN is empty, and the zero-shot setting is"),
        (
            (
                *("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
                *("INPUT.CROP.SIZE", "[30, 32]"),
            ),
            r"CROP.SIZE is \[30, 32\], and the network's stride of 8",
        ),
    ],
)
def test_bad_values(tiny_cfg, opts, words):
    with pytest.raises(ValueError, match=words):
        build_model(tiny_cfg(*OPTS, *opts))


# --- training


def test_loss_is_the_systems(plus):
    model = plus("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "2.0").eval()
    model.training = True  # the adapter alone: norms keep their statistics
    samples = batch(sem_seg=torch.full((32, 32), UNLABELLED))
    images = torch.stack([sample["image"] for sample in samples]).float()
    expected = model.system(images, ClassTexts(model.text_bank.embed(WORDS)))
    result = model(samples)
    torch.testing.assert_close(result["loss_sem_seg"], 2 * expected["loss_sem_seg"])
    torch.testing.assert_close(model(batch()), result)  # no labels are needed
    bgr = plus("INPUT.FORMAT", "BGR", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "2.0").eval()
    bgr.training = True
    flipped = [{**sample, "image": sample["image"].flip(0)} for sample in samples]
    torch.testing.assert_close(bgr(flipped), result)


def test_zero_shot_training_pseudo_labels_unseen_classes(plus):
    model = plus(*ZERO_SHOT[:2], "INPUT.SEMANTIC.UNSEEN", "['sand']").train()
    labels = torch.zeros(32, 32).long()
    labels[:8] = UNLABELLED
    with EventStorage(0) as storage:
        model(batch(sem_seg=labels))["loss_sem_seg"].backward()
        latest = {name: value for name, (value, _) in storage.latest().items()}
    assert latest == {
        "maskclip_plus/labelled": 0.75,
        "maskclip_plus/pseudo_labelled": 0.25,
        "maskclip_plus/self_training": 0.0,
    }
    labels[9] = 2
    with pytest.raises(ValueError, match=r"unseen classes \[2\]"):
        model(batch(sem_seg=labels))


@pytest.mark.parametrize(
    ("opts", "start"),
    [
        ((), None),
        (key("SELF_TRAINING", "on"), 4),
        (ZERO_SHOT, 4),
        ((*ZERO_SHOT, *key("SELF_TRAINING_START", 0.5)), 20),
        ((*ZERO_SHOT, *key("SELF_TRAINING", "off")), None),
    ],
)
def test_self_training_start(plus, opts, start):
    model = plus(*opts, "SOLVER.MAX_ITER", "40")
    assert not model.self_training  # outside of a training
    result = []
    for iteration in range(40):
        with EventStorage(iteration):
            result.append(model.self_training)
    expected = 40 if start is None else start
    assert result == [False] * expected + [True] * (40 - expected)


def test_self_training_starts_after_one_step_at_least(plus):
    model = plus(*ZERO_SHOT, "SOLVER.MAX_ITER", "3")
    for iteration, expected in enumerate((False, True, True)):
        with EventStorage(iteration):
            assert model.self_training == expected
    at_once = plus(*ZERO_SHOT, "SOLVER.MAX_ITER", "3", *key("SELF_TRAINING_START", 0.0))
    with EventStorage(0):
        assert at_once.self_training


def test_unseen_classes_are_the_datasets_own_names(plus, toy_dataset, tmp_path):
    name = toy_dataset("ovseg_toy_unseen", ["a", "bow", "bow"], class_sets={"new": [2]})
    (tmp_path / "words.txt").write_text("red star\ngrass\nsand\n")
    labels = torch.zeros(32, 32).long()
    labels[:8] = UNLABELLED
    samples = [{**sample, "dataset_name": name} for sample in batch(sem_seg=labels)]
    for sample in samples:
        del sample["classes"]
    for unseen in ("['new']", "['bow (2)']"):
        for opts in ((), ("MODEL.TEXT.WORD_LIST", str(tmp_path / "words.txt"))):
            model = plus(*ZERO_SHOT[:2], "INPUT.SEMANTIC.UNSEEN", unseen, *opts)
            assert model.training_texts(samples)[1] == (2,)
            model.train()(samples)
    other = toy_dataset("ovseg_toy_other", ["a", "bow", "bow"], class_sets={"new": [1]})
    model = plus(*ZERO_SHOT[:2], "INPUT.SEMANTIC.UNSEEN", "['new']").train()
    samples[0]["dataset_name"] = other
    with pytest.raises(ValueError, match="vocabularies|means different classes"):
        model(samples)


def test_training_refuses_invalid_samples(plus):
    model = plus(*ZERO_SHOT[:2], "INPUT.SEMANTIC.UNSEEN", "['sand']").train()
    with pytest.raises(ValueError, match="without sem_seg; set INPUT.TRAIN_MAPPER to semantic"):
        model(batch())
    labels = torch.full((32, 32), UNLABELLED)
    with pytest.raises(ValueError, match="has 32 x 40 pixels and its 'sem_seg' 32 x 32; give both"):
        model([*batch(sem_seg=labels), *batch(size=(32, 40), sem_seg=labels)])
    strange = [{**sample, "file_name": "a.png"} for sample in batch(sem_seg=labels.clone())]
    strange[0]["sem_seg"][0] = 9
    with pytest.raises(ValueError, match="the labels of a.png hold 9, and its dataset has 3"):
        model(strange)
    mixed = batch(sem_seg=labels)
    mixed[1]["classes"] = ["red star", "sand"]
    with pytest.raises(ValueError, match="a training batch has 2 vocabularies"):
        model(mixed)
    other = plus(*ZERO_SHOT).train()
    with pytest.raises(ValueError, match="UNSEEN, the vocabulary: 'novel' is neither"):
        other(batch(sem_seg=labels))
    several = plus("MODEL.TEXT.SYNONYMS", "max").train()
    with pytest.raises(ValueError, match="MODEL.TEXT.SYNONYMS max keeps several vectors a class"):
        words = read_words("red star | crimson star, grass, sand")
        several([{**sample, "classes": words} for sample in batch(sem_seg=labels)])
    free = plus().train()
    with pytest.raises(ValueError, match="annotation-free training takes none"):
        free(batch(sem_seg=torch.zeros(32, 32).long()))


# --- evaluation


def test_evaluation_is_the_students_scores(plus):
    model = plus()
    image = batch()[0]["image"][:, :20]
    inputs = [{"image": image, "height": 11, "width": 30, "classes": "a, b, c, d"}]
    (result,) = model(inputs)
    texts = model.text_bank.embed(["a", "b", "c", "d"])
    expected = model.system.student.score_pixels(image[None].float(), ClassTexts(texts), (11, 30))[
        0
    ]
    torch.testing.assert_close(result["sem_seg"], expected)
    assert torch.equal(model.segment(inputs)[0], expected.argmax(dim=0))


# --- runs


@pytest.fixture
def run_opts(tiny_opts, tmp_path):
    """Give a function from a folder and keys to those of four steps on the Shapes world."""
    solver = {"IMS_PER_BATCH": 2, "MAX_ITER": 4, "BASE_LR": 0.01, "WARMUP_ITERS": 0}
    solver |= {"OPTIMIZER": "SGD", "LR_SCHEDULER_NAME": "WarmupPolyLR", "CHECKPOINT_PERIOD": 2}

    return lambda name, *opts: [
        *tiny_opts,
        *OPTS,
        *("DATASETS.TRAIN", "('ovseg_shapes_dev',)", "INPUT.TRAIN_MAPPER", "pictures"),
        *("INPUT.MIN_SIZE_TRAIN", "(96,)", "OUTPUT_DIR", str(tmp_path / name)),
        *("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
        *("INPUT.CROP.SIZE", "[32, 32]"),
        *(str(word) for k, v in solver.items() for word in (f"SOLVER.{k}", v)),
        *opts,
    ]


@pytest.fixture
def run_cfg(run_opts):
    """Give a function from a folder and further keys to the config of such a run."""
    return lambda *opts: load_config(None, run_opts(*opts))


def test_annotation_free_training_reads_no_label(run_cfg, monkeypatch, run):
    def barred(*_, **__):
        raise AssertionError("a label was read")

    for module in (readers, labels_module, shapes):
        monkeypatch.setattr(module, "read_labels", barred)
    losses = {}
    run(run_cfg("free"), losses)
    assert sorted(losses) == [0, 1, 2, 3] and all(np.isfinite(list(losses.values())))
    with pytest.raises(AssertionError, match="a label was read"):
        run(run_cfg("official", "INPUT.TRAIN_MAPPER", "semantic"), {})


def test_only_ignored_reads_the_ignore_mask_alone(run_cfg, run):
    opts = ("INPUT.TRAIN_MAPPER", "semantic", "INPUT.SEMANTIC.ONLY_IGNORED", "True")
    losses = {}
    run(run_cfg("official", *opts), losses)
    assert len(losses) == 4
    with pytest.raises(ValueError, match="annotation-free training takes none"):
        run(run_cfg("labels", *opts[:2]), {})


def test_results_have_base_novel_and_harmonic_mean(run_cfg, tmp_path):
    test = ("DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.MAX_IMAGES", "3")
    cfg = run_cfg("results", *test)
    model = build_model(cfg).eval()
    model.may_answer = True  # with random weights
    evaluate(cfg, model)
    (result,) = json.loads((tmp_path / "results" / "results.json").read_text()).values()
    assert {"mIoU_base", "mIoU_novel", "hIoU"} <= set(result)
