"""The published settings: each file loads, names what exists, and runs on a tiny dataset."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.plugin.inputs import config_word_list, dataset_vocabulary
from ovseg_d2.text.templates import get_templates
from ovseg_d2.vocab import find_classes

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "paper"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_base"))
_FREE = ("maskclip_vitb16_", "maskclip_rn50", "sclip_", "clearclip_", "naclip_")
PLUS = [name for name in FILES if name.startswith("maskclip_plus_")]
TRAINING_FREE = [name for name in FILES if name.startswith(_FREE)]


def read(name: str):
    return load_config(FOLDER / name)


@pytest.mark.parametrize("name", FILES)
def test_everything_a_file_names_exists(name):
    cfg = read(name)
    assert cfg.MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY
    assert cfg.MODEL.CLIP.NAME in open_clip.list_models()
    weights = cfg.MODEL.CLIP.PRETRAINED
    assert weights == "random" or open_clip.get_pretrained_cfg(cfg.MODEL.CLIP.NAME, weights)
    assert Path(name).stem in cfg.OUTPUT_DIR
    registered = DatasetCatalog.list()
    assert all(each in registered for each in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))


@pytest.mark.parametrize("name", TRAINING_FREE)
def test_words_and_background_fit_the_dataset(name):
    cfg = read(name)
    (dataset,) = cfg.DATASETS.TEST
    vocabulary = config_word_list(cfg) or dataset_vocabulary(dataset)
    assert len(vocabulary) == len(MetadataCatalog.get(dataset).stuff_classes)
    # A threshold without a class of background would leave nothing to give doubtful pixels to.
    assert bool(cfg.MODEL.MASKCLIP.BACKGROUND_THRESHOLD) == bool(vocabulary.background_ids)


def test_each_method_has_all_its_datasets():
    count = {
        prefix: len([name for name in FILES if name.startswith(f"{prefix}_")])
        for prefix in ("maskclip_vitb16", "maskclip_rn50", "maskclip_rn50x16", "sclip")
    }
    assert count == {"maskclip_vitb16": 5, "maskclip_rn50": 5, "maskclip_rn50x16": 5, "sclip": 8}
    assert len([name for name in FILES if name.startswith("clearclip_")]) == 8
    assert len([name for name in FILES if name.startswith("naclip_")]) == 8


def test_maskclips_official_settings():
    cfg = read("maskclip_vitb16_context59.yaml")
    block = cfg.MODEL.CLIP.LAST_BLOCK
    assert (block.RESIDUAL, block.MLP, block.ATTENTION) == ("own", True, "value")
    assert cfg.MODEL.CLIP.QUICK_GELU == "text" and cfg.MODEL.CLIP.LAYER_NORM_EPS == 1e-6
    assert [round(255 * value, 3) for value in cfg.MODEL.CLIP.PIXEL_MEAN] == [
        123.675,
        116.28,
        103.53,
    ]
    assert [round(255 * value, 3) for value in cfg.MODEL.CLIP.PIXEL_STD] == [58.395, 57.12, 57.375]
    assert len(get_templates(cfg.MODEL.TEXT.TEMPLATES[0])) == 85
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (520, 520)
    assert cfg.MODEL.MASKCLIP.OFFICIAL and not cfg.MODEL.MASKCLIP.KEY_SMOOTHING
    resnet = read("maskclip_rn50_cityscapes.yaml")
    assert (resnet.INPUT.MIN_SIZE_TEST, resnet.INPUT.MAX_SIZE_TEST) == (512, 1024)
    assert resnet.MODEL.CLIP.LAYER_NORM_EPS == 0


def test_sclips_protocol():
    voc = read("sclip_voc21.yaml")
    options = voc.MODEL.MASKCLIP
    assert (options.WINDOW, options.STRIDE, voc.INPUT.MIN_SIZE_TEST) == (224, 112, 336)
    assert (options.LOGIT_SCALE, options.BACKGROUND_THRESHOLD) == (65, 0.1)
    assert options.BACKGROUND_MIN_SHARE == 0.1 and voc.MODEL.TEXT.SYNONYMS == "max"
    assert read("sclip_coco_stuff171.yaml").INPUT.MIN_SIZE_TEST == 448
    assert read("naclip_cityscapes.yaml").INPUT.MIN_SIZE_TEST == 560
    assert read("naclip_ade150.yaml").MODEL.CLIP.LAST_BLOCK.ATTENTION == "neighbourhood_kk"
    clear = read("clearclip_voc20.yaml").MODEL.CLIP.LAST_BLOCK
    assert (clear.RESIDUAL, clear.MLP, clear.ATTENTION) == ("none", False, "qq")


def test_pixelclips_published_settings():
    files = [name for name in FILES if name.startswith("pixelclip_")]
    assert len(files) == 4
    for name in files:
        cfg = read(name)
        options, rates = cfg.MODEL.PIXELCLIP, dict(cfg.SOLVER.LR_MULTIPLIERS)
        assert (options.CLUSTERS, options.PROMPT_LENGTH, options.MOMENTUM) == (64, 4, 0.999)
        assert options.TEMPLATES == ["pixelclip_single"] and options.MASK_SIZE == [256, 256]
        assert cfg.SOLVER.BASE_LR * rates["system.tower"] == pytest.approx(2e-6)
        assert cfg.SOLVER.BASE_LR * rates["system.clusters"] == pytest.approx(2e-5)
        assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER) == (48, 10000)
        assert cfg.SOLVER.MAX_GRAD_NORM == 0.01 and len(cfg.DATASETS.TEST) == 5
        assert cfg.INPUT.MASKS.SOURCE == ("dino" if "dino" in name else "stored")
    vit, convnext = read("pixelclip_vitb16_dino.yaml"), read("pixelclip_convnextb_dino.yaml")
    assert vit.MODEL.CLIP.LAST_BLOCK.RESIDUAL == "class_token"
    assert (vit.MODEL.PIXELCLIP.TRAINABLE, vit.MODEL.PIXELCLIP.EPSILON) == ("attention", 0.01)
    assert convnext.MODEL.PIXELCLIP.TRAINABLE == "full"
    assert convnext.MODEL.PIXELCLIP.EPSILON == 1.0
    assert vit.MODEL.PIXELCLIP.IMAGE_SIZE == [320, 320]
    assert convnext.MODEL.PIXELCLIP.IMAGE_SIZE == [640, 640]


def test_masked_self_distillations_published_settings():
    files = [name for name in FILES if name.startswith("masked_distill_clip_vitb16_yfcc15m")]
    assert len(files) == 5
    for name in files:
        cfg = read(name)
        options, words = cfg.MODEL.MASKED_DISTILL, cfg.MODEL.MASKED_DISTILL.LANGUAGE
        assert (options.WEIGHT, options.MASK_RATIO, options.DECODER_LAYERS) == (0.05, 0.75, 1)
        assert (words.MASK_RATIO, words.DECODER_LAYERS) == (0.2, 4)
        assert cfg.SOLVER.IMS_PER_BATCH * cfg.SOLVER.MAX_ITER == pytest.approx(25 * 15e6, rel=0.001)
        assert cfg.INPUT.CAPTION_CROP.SIZE == [224, 224] and cfg.MODEL.CLIP.NAME == "ViT-B-16"
        plain = name.endswith("_clip.yaml")
        assert (cfg.MODEL.META_ARCHITECTURE == "CLIPPretrain") == plain
    targets = {name: read(name).MODEL.MASKED_DISTILL for name in files if "m_clip" not in name}
    found = {(each.TARGET, each.LANGUAGE.WEIGHT) for each in targets.values()}
    assert found == {("teacher", 0.05), ("teacher", 0.0), ("student", 0.0), ("pixels", 0.0)}


def test_ovsegs_published_settings():
    swin, resnet = read("ovseg_swinb_vitl14.yaml"), read("ovseg_r101c_vitb16.yaml")
    for cfg in (swin, resnet):
        options = cfg.MODEL.OVSEG
        assert (options.LAMBDA, options.PROMPT_DEPTH, options.CROP.FILL) == (0.7, 3, "mean")
        former = options.MASKFORMER
        assert (former.QUERIES, former.LAYERS, former.ENCODER_LAYERS, former.DIM) == (
            100,
            6,
            0,
            256,
        )
        assert (former.MASK_WEIGHT, former.DICE_WEIGHT, former.NO_OBJECT_WEIGHT) == (20, 1, 0.1)
        assert not former.LEAVE_OUT_IGNORED and cfg.DATASETS.TRAIN == ("ovseg_coco_stuff171_train",)
        solver = cfg.SOLVER
        assert (solver.IMS_PER_BATCH, solver.MAX_ITER, solver.WARMUP_ITERS) == (32, 120000, 1500)
        assert (solver.MAX_GRAD_NORM, solver.LR_SCHEDULER_NAME) == (0.01, "WarmupPolyLR")
        assert len(get_templates(cfg.MODEL.TEXT.TEMPLATES[0])) == 14
        assert cfg.MODEL.TEXT.SYNONYMS == "joined" and len(cfg.DATASETS.TEST) == 5
    assert (swin.SOLVER.BASE_LR, swin.SOLVER.WEIGHT_DECAY) == (6e-5, 0.01)
    assert (resnet.SOLVER.BASE_LR, resnet.SOLVER.WEIGHT_DECAY) == (2e-4, 1e-4)
    assert [*swin.SOLVER.LR_MULTIPLIERS] == []
    assert dict(resnet.SOLVER.LR_MULTIPLIERS) == {"system.backbone": 0.1}
    assert (swin.MODEL.OVSEG.CROP.THRESHOLD, resnet.MODEL.OVSEG.CROP.THRESHOLD) == (0.4, 0.5)
    assert swin.INPUT.MIN_SIZE_TRAIN == tuple(range(320, 1281, 64))
    assert (swin.INPUT.CROP.SIZE, resnet.INPUT.CROP.SIZE) == ([640, 640], [512, 512])
    assert swin.MODEL.TIMM.DETECTOR_SWIN and swin.MODEL.TIMM.DROP_PATH == 0.3
    assert resnet.MODEL.RESNETS.STEM_TYPE == "deeplab"


def test_ovsegs_adaptation_settings():
    files = [name for name in FILES if name.startswith("ovseg_adapt_")]
    assert len(files) == 5
    for name in files:
        cfg = read(name)
        solver, options = cfg.SOLVER, cfg.MODEL.MASK_ADAPTED_CLIP
        large = "vitl14" in name
        assert solver.IMS_PER_BATCH == (256 if large else 1024)
        # Five epochs of the paper's pairs.
        assert solver.MAX_ITER == round(5 * 442117 / solver.IMS_PER_BATCH)
        assert (solver.BETAS, solver.EPS, solver.WARMUP_ITERS) == ([0.9, 0.98], 1e-6, 100)
        prompts = "mpt" in name
        assert (options.TRAIN, options.PROMPT_DEPTH) == (
            ("prompts", 3) if prompts else ("image", 0)
        )
        assert (solver.BASE_LR, solver.WEIGHT_DECAY) == ((0.02, 0.0) if prompts else (5e-6, 0.2))
        assert cfg.INPUT.TRAIN_MAPPER == "pairs" and cfg.TEST.TASK == "mask_crops"
        before = cfg.MODEL.WEIGHTS.split("/")[-2] if "ft_mpt" in name else None
        assert before == (name.replace("_mpt", "").removesuffix(".yaml") if before else None)


@pytest.mark.parametrize("name", ["maskclip_vitb16_voc20.yaml", "naclip_voc21.yaml"])
def test_a_file_runs_on_the_datasets_own_layout(name, tiny_opts, tmp_path, monkeypatch):
    voc = tmp_path / "VOCdevkit/VOC2012"
    labels = "annotations_detectron2/" + ("voc21_val" if "voc21" in name else "val")
    rng = np.random.default_rng(0)
    for folder, suffix, shape in (("JPEGImages", "jpg", (40, 60, 3)), (labels, "png", (40, 60))):
        (voc / folder).mkdir(parents=True)
        pixels = rng.integers(0, 20 if len(shape) == 2 else 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(voc / folder / f"2007_000033.{suffix}")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    small = [*tiny_opts, "INPUT.MIN_SIZE_TEST", "24", "OUTPUT_DIR", str(tmp_path / "output")]
    windows = load_config(FOLDER / name).MODEL.MASKCLIP.WINDOW
    small += ["MODEL.MASKCLIP.WINDOW", "16", "MODEL.MASKCLIP.STRIDE", "8"] if windows else []
    cfg = load_config(FOLDER / name, [*small, "MODEL.TEXT.TEMPLATES", "['{}']"])
    evaluate(cfg, build_model(cfg).eval())
    (found,) = json.loads((tmp_path / "output" / "results.json").read_text()).values()
    assert found["images"] == 1 and 0 <= found["mIoU"] <= 100


def test_maskclip_plus_published_settings():
    files = {name.removeprefix("maskclip_plus_")[:-5]: read(name) for name in PLUS}
    assert len(files) == 12
    steps = {"voc20": 2000, "context59": 4000, "coco_stuff171": 8000}
    steps |= {"zero_shot_voc20": 20000, "zero_shot_context60": 40000}
    steps |= {"zero_shot_coco_stuff171": 80000}
    for name, cfg in files.items():
        zero_shot = name.startswith("zero_shot")
        options, crop = cfg.MODEL.MASKCLIP_PLUS, cfg.INPUT.CROP
        assert cfg.SOLVER.MAX_ITER == steps[name if zero_shot else name.partition("_")[2]]
        assert options.SETTING == ("zero_shot" if zero_shot else "annotation_free")
        assert options.SELF_TRAINING == ("on" if zero_shot else "off")
        assert options.SELF_TRAINING_START == 0.1 and options.CONFIDENCE == 0
        assert crop.SIZE == ([480, 480] if "context" in name else [512, 512])
        if "context" in name:  # the longer side is 260 to 1040, else the shorter one 256 to 1024
            assert cfg.INPUT.SCALE_TRAIN.SIZE == [520, 520]
            assert cfg.INPUT.SCALE_TRAIN.RANGE == [0.5, 2.0]
        else:
            assert tuple(cfg.INPUT.MIN_SIZE_TRAIN) == (256, 1024)
            assert cfg.INPUT.SCALE_TRAIN.SIZE == [] and cfg.INPUT.MAX_SIZE_TRAIN == 4096
        assert cfg.MODEL.TIMM.NORM == cfg.MODEL.SEM_SEG_HEAD.NORM == "SyncBN"
        assert crop.SINGLE_CATEGORY_MAX_AREA == (0.75 if zero_shot else 1.0)
        assert cfg.INPUT.SEMANTIC.ONLY_IGNORED == (not zero_shot)
        resnet = "resnet50c" if name.startswith("vitb16") else "resnet101c"
        assert cfg.MODEL.TIMM.NAME == f"{resnet}.gluon_in1k" and timm.is_model(resnet)
        context = name == "zero_shot_context60"
        assert cfg.SOLVER.BASE_LR == (0.004 if context else 0.01)
        assert cfg.SOLVER.BASE_LR * cfg.SOLVER.POLY_LR_FLOOR == pytest.approx(1e-4)
        assert cfg.SOLVER.WEIGHT_DECAY == (1e-4 if context else 5e-4)
        dilations = [1, 12, 24, 36] if context else [6, 12, 18, 24]
        assert cfg.MODEL.DENSE_HEAD.DILATIONS == dilations
        assert options.LEARN_BACKGROUND == context
        vocabulary = dataset_vocabulary(cfg.DATASETS.TRAIN[0])
        assert vocabulary == dataset_vocabulary(cfg.DATASETS.TEST[0])
        unseen = find_classes(cfg.INPUT.SEMANTIC.UNSEEN, vocabulary.names, vocabulary.class_sets)
        assert len(unseen) == (
            {"voc20": 5, "context60": 10, "coco_stuff171": 15}[name.removeprefix("zero_shot_")]
            if zero_shot
            else 0
        )


@pytest.mark.parametrize("dataset", ["voc20", "coco_stuff171"])
def test_the_fine_tuning_baseline_differs_from_maskclip_plus_in_its_method(dataset):
    baseline = read(f"finetune_baseline_rn50_{dataset}.yaml")
    plus = read(f"maskclip_plus_zero_shot_{dataset}.yaml")
    assert baseline.MODEL.META_ARCHITECTURE == "CLIPFineTune"
    assert baseline.MODEL.CLIP.NAME == "RN50"
    assert baseline.MODEL.TIMM.NAME in timm.list_pretrained("resnet50_clip*.openai")
    for part in ("INPUT", "SOLVER", "DATASETS"):
        assert baseline[part] == plus[part]


@pytest.mark.parametrize(
    "name", ["maskclip_plus_zero_shot_voc20.yaml", "finetune_baseline_rn50_voc20.yaml"]
)
def test_a_zero_shot_run_on_vocs_own_layout(name, tiny_opts, tmp_path, monkeypatch):
    """A file as it is, but on a network and crops that are tiny; one step, then the results."""
    voc = tmp_path / "VOCdevkit/VOC2012"
    rng = np.random.default_rng(0)
    folders = [voc / "JPEGImages", *(voc / "annotations_detectron2" / s for s in ("train", "val"))]
    for folder in folders:
        folder.mkdir(parents=True)
    for number, split in enumerate(("train", "val")):
        pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folders[0] / f"{number}.jpg")
        labels = rng.integers(0, 20, (40, 60), dtype=np.uint8)
        Image.fromarray(labels).save(voc / "annotations_detectron2" / split / f"{number}.png")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    small = (
        *("MODEL.TIMM.NAME", "test_resnet", "MODEL.TIMM.PRETRAINED", ""),
        *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.TEXT.TEMPLATES", "['{}']"),
        *("INPUT.CROP.SIZE", "[32, 32]", "INPUT.MIN_SIZE_TRAIN", "(20, 40)"),
        *("INPUT.MIN_SIZE_TEST", "24", "DATALOADER.NUM_WORKERS", "0"),
        *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "1"),
        *("OUTPUT_DIR", str(tmp_path / "output")),
    )
    cfg = load_config(FOLDER / name, [*tiny_opts, *small])
    model = build_model(cfg).train()
    model(next(iter(build_train_loader(cfg))))["loss_sem_seg"].backward()
    evaluate(cfg, model.eval())
    (found,) = json.loads((tmp_path / "output" / "results.json").read_text()).values()
    assert {"mIoU_seen", "mIoU_unseen", "hIoU"} <= set(found)
