"""Tests that hold for every trained adapter: predictor, DDP, resumed runs, two processes."""

import copy
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import DefaultPredictor, launch
from ovseg_d2.engine import build_optimizer
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.engine.run import evaluate_config
from ovseg_d2.ops import UNLABELLED

WORKER = str(Path(__file__).with_name("two_process_worker.py"))
WORDS = ["red star", "grass", "sand"]
STRIPES = "rows of the labels -1, 1 and 0"

TIMM = ("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet")
LEVELS = ("MODEL.TIMM.OUT_INDICES", "[1, 2]")
DEEPLAB = ("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head", "MODEL.DENSE_HEAD.DILATIONS", "[1, 2]")
MASKFORMER = {"QUERIES": 5, "CONV_CHANNELS": 32, "MASK_CHANNELS": 8, "DIM": 16, "LAYERS": 2}
MASKFORMER |= {"HEADS": 2, "HIDDEN_DIM": 16, "EMBED_HIDDEN_DIM": 16, "DROPOUT": 0.1}
DISTILL = {"NUM_CODES": 12, "HIDDEN_DIM": 16, "CODE_DIM": 8, "MOMENTUM": 0.9}
DISTILL |= {"LANGUAGE.WEIGHT": 0.05, "LANGUAGE.DECODER_LAYERS": 1}


def keys(prefix, values):
    """Return keys and values as the command line takes them."""
    return tuple(str(word) for name, value in values.items() for word in (prefix + name, value))


def train_keys(mapper, size=96, split="dev", unseen=(), **solver):
    """Return the keys and values of four steps on the Shapes world, with a checkpoint at two."""
    solver = {"IMS_PER_BATCH": 2, "MAX_ITER": 4, "CHECKPOINT_PERIOD": 2, **solver}
    return (
        *("DATASETS.TRAIN", f"('ovseg_shapes_{split}',)", "INPUT.TRAIN_MAPPER", mapper),
        *("INPUT.MIN_SIZE_TRAIN", f"({size},)", "INPUT.SEMANTIC.UNSEEN", str(list(unseen))),
        *keys("SOLVER.", solver),
    )


def check_clusters(whole, parts, weights):
    """The report of PixelCLIP's clusters, which is written at the end of a run."""
    reports = [(folder / "clusters.json").read_text() for folder in (whole, parts)]
    assert reports[0] == reports[1]
    clusters = json.loads(reports[0])
    assert sorted(cluster["cluster"] for cluster in clusters) == [0, 1, 2, 3, 4]
    words = {word for cluster in clusters for word, _ in cluster["words"]}
    assert words == {"red star", "grass"}
    assert 0 < sum(cluster["masks"] for cluster in clusters) < 40


def check_shares(whole, parts, weights):
    """MaskCLIP+ logs the shares of its pixels; the student labels them from the third step on."""
    logged = last_metrics(whole)
    shares = [logged[f"maskclip_plus/{kind}"] for kind in ("labelled", "pseudo_labelled")]
    assert shares[0] > 0 and sum(shares) == pytest.approx(1)
    assert logged["maskclip_plus/self_training"] == 0.5  # the median of four steps


@dataclass(frozen=True)
class Adapter:
    """One adapter: its keys, what a run of it takes, and what it logs, saves and changes."""

    opts: tuple[str, ...]
    batches: tuple[dict, ...] = ()
    run_opts: tuple[str, ...] = ()
    logged: tuple[str, ...] = ("total_loss",)
    weights: tuple[str, ...] = ()
    check: Callable = lambda whole, parts, weights: None


ADAPTERS = {
    "CLIPPretrain": Adapter(opts=(), batches=({},)),
    "OVSeg": Adapter(
        opts=(
            *("MODEL.SEM_SEG_HEAD.NAME", "OVSegMaskFormerHead", *TIMM, *LEVELS),
            *keys("MODEL.OVSEG.MASKFORMER.", MASKFORMER),
        ),
        batches=(
            {"labels": STRIPES, "sizes": ((32, 40), (24, 24))},
            {"labels": UNLABELLED, "sizes": ((32, 40),)},
        ),
        run_opts=train_keys(
            *("semantic", 48, "train", ("novel", "withheld")),
            **{"BASE_LR": 0.001, "WARMUP_ITERS": 2, "LR_SCHEDULER_NAME": "WarmupPolyLR"},
        ),
        weights=("prompted.tower.model.",),
    ),
    "PixelCLIP": Adapter(
        opts=(
            *("MODEL.SEM_SEG_HEAD.NAME", "OVSegPixelCLIPClusterHead"),
            *("MODEL.PIXELCLIP.CLUSTERS", "5", "MODEL.PIXELCLIP.PROMPT_LENGTH", "2"),
            *("MODEL.PIXELCLIP.MASK_SIZE", "[16, 16]"),
            *("MODEL.PIXELCLIP.DECODER_CHANNELS", "[16, 16]"),
        ),
        batches=({"masks": 3}, {"masks": 0}),
        run_opts=(
            *train_keys("masks", BASE_LR=0.001, WARMUP_ITERS=2, LR_SCHEDULER_NAME="WarmupCosineLR"),
            *("MODEL.TEXT.CLASSES", "['red star', 'grass']", "VIS_PERIOD", "2"),
            *("SOLVER.LR_MULTIPLIERS", "[['system.tower', 0.1]]"),
        ),
        logged=("total_loss", "pixelclip/masks", "pixelclip/clusters_in_use"),
        check=check_clusters,
    ),
    "MaskCLIPPlus": Adapter(
        opts=(
            *(*TIMM, *LEVELS, "MODEL.TIMM.OUTPUT_STRIDE", "8", *DEEPLAB),
            *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']"),
        ),
        batches=({"labels": UNLABELLED}, {"labels": 255}),
        run_opts=(
            *train_keys("semantic", unseen=["novel"], OPTIMIZER="SGD", BASE_LR=0.01),
            *("SOLVER.WARMUP_ITERS", "0", "SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR"),
            *("MODEL.MASKCLIP_PLUS.SETTING", "zero_shot", "INPUT.CROP.ENABLED", "True"),
            *("INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "[32, 32]"),
            *("MODEL.MASKCLIP_PLUS.SELF_TRAINING_START", "0.5"),
        ),
        logged=("total_loss", "maskclip_plus/labelled"),
        weights=(".student.",),
        check=check_shares,
    ),
    "CLIPFineTune": Adapter(
        opts=(
            *("MODEL.BACKBONE.NAME", "OVSegCLIPBackbone", *DEEPLAB, "MODEL.SEM_SEG_HEAD.NORM"),
            *("BN", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['clip_tokens']"),
            *("MODEL.FINE_TUNE.MAPPER", "linear", "INPUT.SEMANTIC.UNSEEN", "['sand']"),
        ),
        batches=({"labels": STRIPES}, {"labels": STRIPES}),
        run_opts=(
            *train_keys("semantic", split="train", unseen=["novel", "withheld"], BASE_LR=0.01),
            *("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.OPTIMIZER", "SGD"),
            *("SOLVER.WARMUP_ITERS", "0"),
        ),
        weights=(".network.",),
    ),
    "MaskedDistillCLIP": Adapter(
        opts=keys("MODEL.MASKED_DISTILL.", DISTILL),
        run_opts=(
            *train_keys("captions", BASE_LR=0.001, WARMUP_ITERS=2, IMS_PER_BATCH=4),
            *("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "MODEL.CLIP.PATCH_DROPOUT", "0.5"),
            *("MODEL.CLIP_PRETRAIN.ATTENTION_ONLY", "0.5"),
        ),
        logged=("loss_distillation", "loss_masked_language", "masked_distill/codes_in_use"),
        weights=("system.distillation.teacher.visual.", "system.distillation.center"),
    ),
}


def those_with(field):
    return pytest.mark.parametrize("name", [n for n, a in ADAPTERS.items() if getattr(a, field)])


def arch(name):
    return "MODEL.META_ARCHITECTURE", name, *ADAPTERS[name].opts


def samples(dataset, *, sizes=((32, 32), (32, 32)), labels=0, masks=3):
    """Return training samples with the entries that any adapter reads."""
    generator = torch.Generator().manual_seed(0)
    batch = []
    for number, (h, w) in enumerate(sizes):
        views = torch.randint(0, 256, (2, 3, h, w), dtype=torch.uint8, generator=generator)
        sem_seg = torch.zeros(h, w).long() if labels is STRIPES else torch.full((h, w), labels)
        if labels is STRIPES:
            sem_seg[: h // 2], sem_seg[: h // 8] = 1, UNLABELLED
        batch.append(
            {
                **{"image": views[0], "teacher_image": views[1], "sem_seg": sem_seg},
                "masks": torch.rand(masks, h, w, generator=generator) > 0.5,
                "drawn_captions": [f"caption {number}"],
                **{"classes": WORDS, "dataset_name": dataset},
            }
        )
    return batch


def last_metrics(folder):
    return json.loads((folder / "metrics.json").read_text().splitlines()[-1])


@those_with("run_opts")
def test_default_predictor_takes_checkpoint_and_words(name, build, tiny_cfg, tmp_path):
    model = build(*arch(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    Checkpointer(model, str(tmp_path)).save("trained")
    weights = ("MODEL.WEIGHTS", str(tmp_path / "trained.pth"))
    cfg = tiny_cfg(*arch(name), *weights, "MODEL.TEXT.CLASSES", "['sky', 'sea']")
    predictor = DefaultPredictor(cfg)
    image = torch.randint(0, 256, (3, 32, 40), dtype=torch.uint8)
    bgr = np.ascontiguousarray(image.flip(0).permute(1, 2, 0).numpy())
    expected = model([{"image": image, "classes": ["sky", "sea"]}])[0]["sem_seg"]
    torch.testing.assert_close(predictor(bgr)["sem_seg"], expected)
    predictor.model.set_vocabulary("red star, grass, sand")
    assert predictor(bgr)["sem_seg"].shape == (3, 32, 40)


@those_with("batches")
def test_adapter_in_distributed_data_parallel(name, build, tiny_cfg, toy_dataset, tmp_path):
    three = toy_dataset("ovseg_toy_ddp_three", WORDS)
    one = toy_dataset("ovseg_toy_ddp_one", ["d"])
    model = build(*arch(name), "MODEL.OVSEG.MASKFORMER.DROPOUT", "0.0").train()
    batches = [samples(three, **entries) for entries in ADAPTERS[name].batches]
    alone = copy.deepcopy(model)(batches[0])
    optimizer = build_optimizer(tiny_cfg(*arch(name), "SOLVER.OPTIMIZER", "SGD"), model)
    dist.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(model)
        for number, batch in enumerate(batches):
            losses = wrapped(batch)
            if number == 0:
                torch.testing.assert_close(losses, alone)
            sum(losses.values()).backward()
            optimizer.step()
        wrapped.eval()
        # Two test sets through one wrapped model, each with its own words.
        image = batches[0][0]["image"]
        named = [{"image": image, "dataset_name": dataset} for dataset in (three, one)]
        assert [len(output["sem_seg"]) for output in wrapped(named)] == [3, 1]
        wrapped.module.set_vocabulary("x, y")
        assert [len(output["sem_seg"]) for output in wrapped(named)] == [2, 2]
        assert wrapped.module.segment(named)[0].max() <= 1
    finally:
        dist.destroy_process_group()


@pytest.fixture
def run_opts(tiny_opts, tiny_clip_config, tmp_path):
    """Give a function from an adapter and an output folder to the keys of a run.

    MaskedDistillCLIP's tower needs training images of its own size, 96 x 96 pixels.
    """
    config = copy.deepcopy(tiny_clip_config)
    config["vision_cfg"] |= {"image_size": 96, "patch_size": 24}
    path = tmp_path / "coarse_clip.json"
    path.write_text(json.dumps(config))

    def make(name, folder):
        run = (*ADAPTERS[name].run_opts, "OUTPUT_DIR", str(tmp_path / folder))
        coarse = ("MODEL.CLIP.NAME", str(path)) if name == "MaskedDistillCLIP" else ()
        return [*tiny_opts, *arch(name), *run, *coarse]

    return make


@those_with("run_opts")
def test_resumed_run_repeats_the_uninterrupted_one(name, run_opts, tmp_path, run):
    adapter, whole, parts = ADAPTERS[name], {}, {}
    torch.manual_seed(0)
    expected = run(load_config(None, run_opts(name, "whole")), whole).model.state_dict()
    torch.manual_seed(0)
    cfg = load_config(None, run_opts(name, "parts"))
    with pytest.raises(KeyboardInterrupt):
        run(cfg, parts, stop_after=2)
    assert not (tmp_path / "parts" / "clusters.json").exists()
    torch.manual_seed(12345)
    weights = run(cfg, parts, resume=True).model.state_dict()
    assert sorted(whole) == [0, 1, 2, 3] and parts == whole
    for key, value in expected.items():
        assert torch.equal(weights[key], value), key
    for prefix in adapter.weights:
        assert any(prefix in key and value.any() for key, value in weights.items()), prefix
    assert set(adapter.logged) <= set(last_metrics(tmp_path / "whole"))
    adapter.check(tmp_path / "whole", tmp_path / "parts", weights)


@pytest.mark.slow
def test_two_processes_train_one_model(run_opts, tmp_path):
    """Each process reads its own images; the weights stay equal, and are evaluated as saved."""
    test = ("DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.MAX_IMAGES", "4")
    short = ("SOLVER.IMS_PER_BATCH", "4", "SOLVER.MAX_ITER", "2", *test)
    names = ("MaskCLIPPlus", "CLIPFineTune", "MaskedDistillCLIP")
    runs = {name: [*run_opts(name, name), *short] for name in names}
    launch(runpy.run_path, 2, dist_url="auto", args=(WORKER, {"RUNS": runs, "FOLDER": tmp_path}))
    for name, opts in runs.items():
        (start, first), (_, second) = (
            torch.load(tmp_path / f"{name}_{rank}.pt", weights_only=True) for rank in (0, 1)
        )
        assert set(first) == set(second) == set(start), name
        for key, value in first.items():
            assert torch.equal(second[key], value), (name, key)
        for part in ADAPTERS[name].weights:
            trained = [key for key in first if part in key]
            assert any(not torch.equal(first[key], start[key]) for key in trained), (name, part)
        lines = (tmp_path / name / "metrics.json").read_text().splitlines()
        losses = [line["total_loss"] for line in map(json.loads, lines) if "total_loss" in line]
        assert losses and all(0 < loss < 100 for loss in losses), name
        (results,) = json.loads((tmp_path / name / "results.json").read_text()).values()
        saved = ("MODEL.WEIGHTS", str(tmp_path / name / "model_final.pth"))
        alone = evaluate_config(None, [*opts, *saved, "OUTPUT_DIR", str(tmp_path / "alone")])
        for metric in ("mIoU", "fwIoU", "pACC"):
            assert results[metric] == pytest.approx(alone[metric], abs=1e-4), (name, metric)
