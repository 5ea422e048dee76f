"""Config values: `load_config` and, for a share of the cases, an answer or a training step."""

import argparse
import contextlib
import logging
import math
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from harness import Reader
from mutate import ODD_VALUES, mutate_json

from ovseg_d2.config import KEYS, load_config
from ovseg_d2.config.keys import value_of
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY
from ovseg_d2.d2.utils.events import EventStorage
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.optimizer import build_optimizer
from ovseg_d2.engine.run import check_job
from ovseg_d2.engine.schedule import build_lr_scheduler
from ovseg_d2.evaluation import numbers_of, read_results
from ovseg_d2.plugin import build_model
from ovseg_d2.segmenter import Segmenter

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_COMMON = ("MODEL.CLIP.", "MODEL.TEXT.", "MODEL.MASKCLIP.", "INPUT.FORMAT", "INPUT.M", "SOLVER.")
_CROPS = ("INPUT.SEMANTIC.", "INPUT.CROP.", "INPUT.SCALE_TRAIN.", "INPUT.RANDOM_FLIP")
_DENSE = ("MODEL.DENSE_HEAD.", "MODEL.SEM_SEG_HEAD.", "MODEL.BACKBONE.NAME", "MODEL.PIXEL_")
_TIMM = ("MODEL.TIMM.",)
# What a config's model and training read, by the first letters of the keys.
_READ = {
    "maskclip": ("INPUT.CORRUPTION.",),
    "clip": ("MODEL.CLIP_PRETRAIN.", "INPUT.CAPTION", "INPUT.NEG", "INPUT.RANDOM_FLIP"),
    "masked_distill_clip": ("MODEL.MASKED_DISTILL.", "MODEL.CLIP_PRETRAIN."),
    "maskclip_plus": (*_CROPS, *_DENSE, *_TIMM, "MODEL.MASKCLIP_PLUS."),
    "maskclip_plus_zero_shot": (*_CROPS, *_DENSE, "MODEL.MASKCLIP_PLUS."),
    "finetune_baseline": (*_CROPS, *_DENSE, "MODEL.FINE_TUNE.", "MODEL.CLIP_BACKBONE."),
    "ovseg": (*_CROPS, *_TIMM, "MODEL.OVSEG.", "MODEL.BACKBONE.", "MODEL.RESNETS.", "MODEL.PIXEL_"),
    "resnet": (*_DENSE, "MODEL.RESNETS.", "MODEL.BACKBONE."),
    "pixelclip": ("MODEL.PIXELCLIP.", "INPUT.MASKS", "INPUT.VIEWS.", "INPUT.CROP."),
}
_EVALUATED = ("TEST.", "DATASETS.TEST", "INPUT.CORRUPTION.", "MODEL.MASKCLIP.", "MODEL.TEXT.")
# Configs that are no file of the project: the file below them, and keys and values on top.
_RESNET = ("MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone", "MODEL.SEM_SEG_HEAD.IN_FEATURES")
_ON_TOP = {"resnet": ("finetune_baseline", (*_RESNET, ["res4"]))}
# Names of files and folders, of weights that are downloaded, and processes: loaded, never used.
_NOT_USED = re.compile(
    r"OUTPUT_DIR|CACHE_DIR|NUM_WORKERS|CLIP\.NAME|PRETRAINED|DINO|WEIGHTS|TIMM\.NAME|CHECKPOINT$"
)
_REGISTRIES = (BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY)
_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 30, 32, 64, 96, -1)
_SHARES = (0.0, 1e-8, 0.1, 0.25, 0.5, 0.99, 1.0, 2.0, 30.0, -1.0)
_IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@dataclass(frozen=True)
class _Case:
    """Keys and values on top of a config file, and what is done with them."""

    config: str
    values: dict[str, Any]
    depth: str  # load, answer, train or evaluate
    folder: Path
    in_file: bool


@cache
def _words() -> tuple[str, ...]:
    """All values that some key takes as one of a few, and words that none does."""
    found = {word for key in KEYS.values() for word in re.findall(r"'([^']*)'", key.takes.phrase)}
    # Masks of DINO are of weights that are downloaded.
    names = [name for registry in _REGISTRIES for name, _ in registry if "ovseg" in name.lower()]
    names += ["ovseg_shapes_dev", "ovseg_shapes_val", "build_resnet_backbone", "MaskCLIP"]
    others = ("nothing", "res3", "clip_dense", "a {} b", "red star", "novel", "fog", "imagenet")
    return (*sorted(found - {"dino"}), *names, *others)


def _draw_value(rng: random.Random, default: Any, odd: float) -> Any:
    """A value that is like the default, but with probability `odd` of another kind."""
    if rng.random() < odd:
        return rng.choice(ODD_VALUES)
    if isinstance(default, bool):
        return rng.random() < 0.5
    if isinstance(default, int):
        return rng.choice(_NUMBERS)
    if isinstance(default, float):
        return rng.choice(_SHARES)
    if isinstance(default, list | tuple):
        if rng.random() < odd:
            return mutate_json(rng, list(default))
        items = [*default] or [rng.choice((1, 0.5, "red star"))]
        length = rng.choice((0, 1, 2, len(default), len(default), len(default)))
        return [_draw_value(rng, rng.choice(items), odd / 2) for _ in range(length)]
    return rng.choice(_words())


def _make_case(rng: random.Random, folder: Path) -> _Case:
    config = rng.choice(tuple(_READ))
    depth = rng.choices(("load", "answer", "train"), (90, 5, 5))[0]
    depth = "evaluate" if depth == "train" and config == "maskclip" else depth
    keys = list(KEYS)
    if depth != "load":
        read = _EVALUATED if depth == "evaluate" else (*_COMMON, *_READ[config])
        keys = [k for k in KEYS if k.startswith(read)]
        keys = [k for k in keys if not _NOT_USED.search(k)]
    base = _base(config)
    odd = 0.5 if depth == "load" else 0.1
    values = {
        key: _draw_value(rng, value_of(base, key), odd)
        for key in rng.sample(keys, rng.choice((0, 1, 1, 2, 3)))
    }
    if rng.random() < 0.2:  # of one test dataset
        values = {f"TEST.DATASETS.ovseg_shapes_val.{key}": value for key, value in values.items()}
    return _Case(config, values, depth, folder, in_file=rng.random() < 0.5)


@cache
def _base(config: str) -> CfgNode:
    path, opts = _file(config)
    return load_config(path, ["MODEL.DEVICE", "cpu", *opts])


def _file(config: str) -> tuple[Path, tuple[Any, ...]]:
    name, opts = _ON_TOP.get(config, (config, ()))
    return _CONFIGS / f"{name}.yaml", opts


def _read(case: _Case) -> Any:
    path, on_top = _file(case.config)
    opts: list[Any] = ["MODEL.DEVICE", "cpu", *on_top]
    if case.in_file and not on_top:
        path = _write(case, path)
    else:
        opts += [word for pair in case.values.items() for word in pair]
    cfg = load_config(path, opts)
    if case.depth == "load":
        return cfg
    # So many keys are about training that steps are made short here and not by every case.
    cfg.SOLVER.IMS_PER_BATCH = min(cfg.SOLVER.IMS_PER_BATCH, 2)
    cfg.OUTPUT_DIR = str(case.folder / "output")
    with _quiet():
        torch.manual_seed(0)
        if case.depth == "evaluate":
            return _evaluate(cfg)
        return _answer(cfg, case) if case.depth == "answer" else _train(cfg)


def _write(case: _Case, base: Path) -> Path:
    """A file of the case's values on top of a config of the project."""
    tree: dict[str, Any] = {"_BASE_": str(base)}
    for key, value in case.values.items():
        *sections, name = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    path = case.folder / "case.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def _answer(cfg: CfgNode, case: _Case) -> Any:
    """The answer to a small image."""
    if case.config not in ("maskclip", "clip"):  # their networks are untrained
        cfg.MODEL.WEIGHTS = "random"
    return Segmenter(cfg)(_IMAGE, "red star, grass, brick")


def _evaluate(cfg: CfgNode) -> dict[str, Any]:
    """The numbers of two images."""
    cfg.TEST.MAX_IMAGES = min(cfg.TEST.MAX_IMAGES or 2, 2)
    for overrides in cfg.TEST.DATASETS.values():
        overrides.get("TEST", {}).pop("MAX_IMAGES", None)
    check_job(cfg, argparse.Namespace(eval_only=True, resume=False))
    model = build_model(cfg).eval()
    evaluate(cfg, model)
    return numbers_of(read_results(cfg.OUTPUT_DIR), cfg.DATASETS.TEST)


def _train(cfg: CfgNode) -> dict[str, float]:
    """The losses of a step; the weights after it are thrown away."""
    check_job(cfg, argparse.Namespace(eval_only=False, resume=False))
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    batch = next(iter(build_train_loader(cfg)))
    with EventStorage(0):
        losses = model(batch)
        sum(losses.values()).backward()
        optimizer.step()
        scheduler.step()
    return {name: float(loss) for name, loss in losses.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _check(case: _Case, answer: Any) -> str | None:
    if case.depth == "answer":
        shape, size = answer.labels.shape, _IMAGE.shape[:2]
        return None if shape == size else f"labels {shape} of an image {size}"
    if case.depth == "evaluate":
        return None if answer else "no numbers"
    if case.depth == "train":
        # A weight of 10^6 or a logit scale of 10^4 is allowed, and a first loss is finite even so.
        return None if all(map(math.isfinite, answer.values())) else f"losses {answer}"
    for key, value in case.values.items():
        found = value_of(answer, key)
        if _plain(found) != _plain(value):
            return f"{key} is {found!r:.100}"
    same = KEYS.keys() - {*case.values, "TEST.DATASETS"}  # the last holds keys of its own
    others = {key: value_of(answer, key) for key in same}
    changed = [key for key, value in others.items() if value != value_of(_base(case.config), key)]
    return f"{changed} changed too" if changed else None


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


READER = Reader("config", _make_case, _read, _check, seconds=30.0)
