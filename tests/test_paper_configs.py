"""The published settings: every file has them, loads, and runs on a tiny dataset."""

import ast
import fnmatch
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import yaml
from PIL import Image

from ovseg_d2.config import dataset_config, load_config
from ovseg_d2.config.keys import value_of
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.plugin.inputs import config_word_list, dataset_vocabulary
from ovseg_d2.text.templates import get_templates
from ovseg_d2.vocab import find_classes

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "paper"
ALL = sorted(path.name for path in FOLDER.glob("*.yaml"))
FILES = [name for name in ALL if not name.endswith("_base.yaml")]
_FREE = ("maskclip_vitb16", "maskclip_rn50", "sclip_", "clearclip_", "naclip_", "proxyclip_")
_FREE += ("scclip_", "lposs_")
SEGMENTERS = [
    name for name in FILES if name.startswith(("ovseg_swinb", "ovseg_r101c", "pixelclip_"))
]
PLUS = [name for name in FILES if name.startswith("maskclip_plus_")]
TRAINING_FREE = [name for name in FILES if name.startswith(_FREE)]


@cache
def read(name: str):
    return load_config(FOLDER / name)


@pytest.mark.parametrize("name", FILES)
def test_names_in_a_file_exist(name):
    cfg = read(name)
    assert cfg.MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY
    assert cfg.MODEL.CLIP.NAME in open_clip.list_models()
    guide = cfg.MODEL.MASKCLIP.GUIDE.NAME
    assert not guide or guide in timm.list_pretrained(guide)
    weights = cfg.MODEL.CLIP.PRETRAINED
    assert weights == "random" or open_clip.get_pretrained_cfg(cfg.MODEL.CLIP.NAME, weights)
    assert Path(name).stem in cfg.OUTPUT_DIR
    registered = DatasetCatalog.list()
    assert {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST} <= set(registered)


@pytest.mark.parametrize("name", TRAINING_FREE)
def test_words_and_background_fit_the_dataset(name):
    for dataset in read(name).DATASETS.TEST:
        cfg = dataset_config(read(name), dataset)
        vocabulary = config_word_list(cfg) or dataset_vocabulary(dataset)
        assert vocabulary.names == tuple(MetadataCatalog.get(dataset).stuff_classes)
        # A threshold needs a background class for the pixels below it; LPOSS has none.
        has_threshold = bool(cfg.MODEL.MASKCLIP.BACKGROUND_THRESHOLD)
        assert has_threshold == (bool(vocabulary.background_ids) and not name.startswith("lposs_"))


def published_settings():
    """Rows of the table: a pattern of file names, a key, its value, and the source of the value."""
    rows = (Path(__file__).parent / "paper_settings.tsv").read_text(encoding="utf-8").splitlines()
    return [tuple(row.split("\t")) for row in rows[1:]]


# Sources without a paper or a repository.
_OTHER_SOURCES = ("ours", "detectron2's default", "detectron2's words", "torch's default")


@pytest.mark.parametrize(("pattern", "key", "value", "source"), published_settings())
def test_published_setting(pattern, key, value, source):
    files = fnmatch.filter(ALL, f"{pattern}.yaml")
    assert files and (source.startswith("[") or source in _OTHER_SOURCES)
    for name in files:
        actual = value_of(read(name), key)
        if key in ("MODEL.CLIP.PIXEL_MEAN", "MODEL.CLIP.PIXEL_STD"):
            actual = [round(255 * share, 3) for share in actual]
        actual = list(actual) if isinstance(actual, tuple) else actual
        assert actual == ast.literal_eval(value), name


_OF_THE_RUN = ("_BASE_", "OUTPUT_DIR", "VERSION")


def own_lines(name):
    """The keys that a file sets, by their full names, each with its line."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    lines = text.splitlines()

    def leaves(node, prefix):
        for key, value in node.value:
            if isinstance(value, yaml.MappingNode):
                yield from leaves(value, f"{prefix}{key.value}.")
            else:
                yield prefix + key.value, lines[value.end_mark.line]

    keys = dict(leaves(yaml.compose(text), ""))
    return {key: line for key, line in keys.items() if key not in _OF_THE_RUN}


@pytest.mark.parametrize("name", ALL)
def test_every_value_has_a_source_in_the_file_and_a_row_in_the_table(name):
    known = {
        key
        for pattern, key, *_ in published_settings()
        if fnmatch.fnmatchcase(name, f"{pattern}.yaml")
    }
    lines = own_lines(name)
    assert lines.keys() <= known, sorted(lines.keys() - known)
    assert not [line for line in lines.values() if "  # " not in line]


def test_number_of_templates():
    templates = {"maskclip_vitb16": 85, "ovseg_swinb_vitl14": 14}
    templates |= {"ovseg_r101c_vitb16": 14, "pixelclip_vitb16_sa1b": 8}
    for name, count in templates.items():
        assert len(get_templates(read(f"{name}.yaml").MODEL.TEXT.TEMPLATES[0])) == count


@pytest.mark.parametrize("name", SEGMENTERS)
def test_words_of_every_benchmark_fit_it(name):
    for dataset in read(name).DATASETS.TEST:
        vocabulary = config_word_list(dataset_config(read(name), dataset))
        names = MetadataCatalog.get(dataset).stuff_classes
        assert vocabulary is None or len(vocabulary) == len(names)


@pytest.mark.parametrize("name", PLUS)
def test_maskclip_plus_dataset_network_and_unseen_classes(name):
    cfg = read(name)
    assert timm.is_model(cfg.MODEL.TIMM.NAME.partition(".")[0])
    vocabulary = dataset_vocabulary(cfg.DATASETS.TRAIN[0])
    assert vocabulary == dataset_vocabulary(cfg.DATASETS.TEST[0])
    unseen = find_classes(cfg.INPUT.SEMANTIC.UNSEEN, vocabulary.names, vocabulary.class_sets)
    counts = {"zero_shot_voc20": 5, "zero_shot_voc21": 5, "zero_shot_context60": 10}
    counts["zero_shot_coco_stuff171"] = 15
    assert len(unseen) == counts.get(name.removeprefix("maskclip_plus_")[:-5], 0)


@pytest.mark.parametrize("dataset", ["voc20", "coco_stuff171"])
def test_fine_tuning_baseline_shares_maskclip_plus_settings(dataset):
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
def test_zero_shot_file_trains_and_evaluates_on_vocs_layout(name, tiny_opts, tmp_path, monkeypatch):
    """The file with a tiny network and tiny crops: one step, then the results."""
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
    (results,) = json.loads((tmp_path / "output" / "results.json").read_text()).values()
    assert {"mIoU_seen", "mIoU_unseen", "hIoU"} <= set(results)


SMALL = (
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
    *("MODEL.TIMM.PRETRAINED", "", "MODEL.TIMM.DETECTOR_SWIN", "False"),
    *("MODEL.TIMM.OUT_INDICES", "[1, 2]", "MODEL.TIMM.DROP_PATH", "0.0", "MODEL.WEIGHTS", "random"),
    *("MODEL.OVSEG.MASKFORMER.QUERIES", "4", "MODEL.OVSEG.MASKFORMER.CONV_CHANNELS", "32"),
    *("MODEL.OVSEG.MASKFORMER.MASK_CHANNELS", "8", "MODEL.OVSEG.MASKFORMER.DIM", "16"),
    *("MODEL.OVSEG.MASKFORMER.LAYERS", "1", "MODEL.OVSEG.MASKFORMER.HEADS", "2"),
    *("MODEL.OVSEG.MASKFORMER.HIDDEN_DIM", "16", "MODEL.OVSEG.MASKFORMER.EMBED_HIDDEN_DIM", "16"),
    *("MODEL.OVSEG.CLIP_WEIGHTS", "", "MODEL.TEXT.TEMPLATES", "['{}']"),
    *("MODEL.PIXELCLIP.IMAGE_SIZE", "[16, 16]", "INPUT.MIN_SIZE_TEST", "20"),
    *("DATALOADER.NUM_WORKERS", "0"),
    *(
        "MODEL.MASKCLIP.GUIDE.NAME",
        "vit_tiny_patch16_224",
        "MODEL.MASKCLIP.GUIDE.WEIGHTS",
        "random",
    ),
    *("MODEL.CLIP.LAST_BLOCK.CALIBRATION.AFFINITY_BLOCK", "1"),  # of the tiny tower's two
    *("MODEL.CLIP.LAST_BLOCK.CALIBRATION.MIXING_BLOCK", "1"),
    *("MODEL.CLIP.LAST_BLOCK.CALIBRATION.FIRST_LEVEL", "1"),
    *("MODEL.CLIP.LAST_BLOCK.CALIBRATION.LAST_LEVEL", "1"),
)


# The students of MaskCLIP+ keep their own strides and stages.
STUDENT = (
    *("MODEL.TIMM.NAME", "test_resnet", "MODEL.TIMM.PRETRAINED", ""),
    *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.WEIGHTS", "random"),
    *("MODEL.TEXT.TEMPLATES", "['{}']", "INPUT.MIN_SIZE_TEST", "20", "DATALOADER.NUM_WORKERS", "0"),
)


def base_of(name):
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["_BASE_"]


# Files of another size of a training's part evaluate like the file of the published size.
_SIZES = re.compile(r"_(depth|k|l|m)\d+\.yaml$")


@pytest.mark.parametrize(
    "name", [*(name for name in SEGMENTERS if not _SIZES.search(name)), *TRAINING_FREE, *PLUS]
)
def test_file_runs_on_miniatures_of_its_benchmarks(name, tiny_opts, tmp_path, miniatures):
    depth = min(read(name).MODEL.OVSEG.PROMPT_DEPTH, 2)  # of the tiny tower's two blocks
    small = STUDENT if name in PLUS else SMALL
    opts = [*tiny_opts, *small, "MODEL.OVSEG.PROMPT_DEPTH", str(depth)]
    # All tiny towers have the same weights, so that each word is encoded once.
    opts += ["MODEL.TEXT.CACHE_DIR", str(miniatures / "texts")]
    if not base_of(name).endswith("_base.yaml"):  # a row that differs from another one
        opts += ["DATASETS.TEST", repr(read(name).DATASETS.TEST[-1:])]
    cfg = load_config(FOLDER / name, [*opts, "OUTPUT_DIR", str(tmp_path / "output")])
    model = build_model(cfg).eval()
    model.may_answer = True
    evaluate(cfg, model)
    results = json.loads((tmp_path / "output" / "results.json").read_text())
    assert list(results) == list(cfg.DATASETS.TEST)
    assert all(numbers["images"] == 1 for numbers in results.values())


@pytest.mark.parametrize(
    "name",
    [
        "maskclip_plus_rn50_ade150.yaml",
        "maskclip_plus_rn50_cityscapes.yaml",
        "maskclip_plus_vitb16_distill_context59.yaml",
        "maskclip_plus_vitb16_ks_pd_coco_stuff171.yaml",
        "maskclip_plus_zero_shot_voc21.yaml",
    ],
)
def test_maskclip_plus_file_trains_on_a_miniature(name, tiny_opts, miniatures):
    scale = read(name).INPUT.SCALE_TRAIN.SIZE
    small = [
        *(*tiny_opts, *STUDENT, "MODEL.TEXT.CACHE_DIR", str(miniatures / "texts")),
        *("INPUT.CROP.SIZE", "[32, 32]", "INPUT.MIN_SIZE_TRAIN", "(20, 40)"),
        *("INPUT.SCALE_TRAIN.SIZE", str([24 for _ in scale]), "SOLVER.IMS_PER_BATCH", "2"),
    ]
    cfg = load_config(FOLDER / name, small)
    losses = build_model(cfg).train()(next(iter(build_train_loader(cfg))))
    sum(losses.values()).backward()
    assert ("loss_distill" in losses) == ("distill" in name), losses
