"""What all tests share: the parity cases, a tiny CLIP, and a fixed seed for each test."""

import json
import logging
import multiprocessing
import random
import runpy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import load_file

from ovseg_d2.checkpoints import convert_pixelclip_decoder
from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.d2.utils.logger import setup_logger
from ovseg_d2.data.datasets import BENCHMARKS

_ROOT = Path(__file__).resolve().parents[1]
_SHARED_CASES = (_ROOT.parent / "shared" / "parity", _ROOT / "shared" / "parity")
_PARITY_FOLDERS = (_ROOT / "tests" / "data" / "parity", *_SHARED_CASES)

# The tensors of the tests are tiny: more threads only fight each other, and those of parallel runs.
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def _one_tokenizer() -> Iterator[None]:
    """Let all towers of the tests share CLIP's tokenizer, whose table takes 0.2 s to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimpleTokenizer, "__deepcopy__", lambda self, memo: self, raising=False)
        patch.setattr(open_clip, "SimpleTokenizer", cache(SimpleTokenizer))
        yield


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Start each test from the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (the stand-in's samplers and transforms use the global state)
    torch.manual_seed(0)


@dataclass(frozen=True)
class ParityTensors:
    """Named tensors of one side of a subcase, each in the type `case.json` states."""

    tensors: dict[str, torch.Tensor]
    entries: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return the tensor called `name`."""
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        """Say whether the subcase has a tensor called `name`."""
        return name in self.tensors

    def list(self, name: str) -> list[torch.Tensor]:
        """Return the elements `name.0`, `name.1`, ... of a list, in order."""
        elements = []
        while f"{name}.{len(elements)}" in self.tensors:
            elements.append(self.tensors[f"{name}.{len(elements)}"])
        return elements


@dataclass(frozen=True)
class ParitySubcase:
    """One call of the official implementation: arguments, inputs and what came out."""

    id: str
    kind: str
    args: dict[str, Any]
    inputs: ParityTensors
    outputs: ParityTensors
    expect: dict[str, Any]

    def check(self, name: str, actual: torch.Tensor) -> None:
        """Fail unless `actual` equals the output called `name` within its tolerance.

        Raises:
            AssertionError: it does not; the message names case, output and difference.
            KeyError: no such output.
        """
        entry, expected = self.outputs.entries[name], self.outputs[name]
        label = f"{self.id}/{name}"
        actual = actual.detach().cpu()
        assert actual.shape == expected.shape, (
            f"{label}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        )
        if "max_mismatch_fraction" in entry:
            wrong = (actual != expected).double().mean().item()
            assert wrong <= entry["max_mismatch_fraction"], f"{label}: {wrong:.4%} of labels differ"
        elif entry.get("exact"):
            assert torch.equal(actual.to(expected.dtype), expected), f"{label}: not equal"
        else:
            torch.testing.assert_close(
                actual.to(expected.dtype),
                expected,
                rtol=entry["rtol"],
                atol=entry["atol"],
                equal_nan=True,
                msg=lambda text: f"{label}: {text}",
            )


@dataclass(frozen=True)
class ParityCase:
    """A golden case: construction arguments, official weights in float32, and its subcases."""

    name: str
    construct: dict[str, Any]
    weights: dict[str, torch.Tensor]
    subcases: dict[str, ParitySubcase]
    info: dict[str, Any]


def load_parity_case(folder: Path) -> ParityCase:
    """Load the case in `folder`: `case.json`, `io.safetensors` and, if there, its weights."""
    info = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    stored = load_file(folder / "io.safetensors")
    subcases = {
        entry["id"]: ParitySubcase(
            id=entry["id"],
            kind=entry["kind"],
            args=entry.get("args", {}),
            inputs=_typed(stored, entry.get("inputs", {})),
            outputs=_typed(stored, entry.get("outputs", {})),
            expect=entry.get("expect", {}),
        )
        for entry in info["subcases"]
    }
    about = info.get("weights") or {}
    weights = _load_weights(folder / about["file"], about) if about.get("file") else {}
    return ParityCase(info["case"], info.get("construct") or {}, weights, subcases, info)


def _typed(stored: dict[str, torch.Tensor], entries: dict[str, dict[str, Any]]) -> ParityTensors:
    tensors = {}
    for name, entry in entries.items():
        tensors[name] = stored[entry["key"]].to(getattr(torch, entry["dtype"]))
        assert list(tensors[name].shape) == entry["shape"], f"{entry['key']} has another shape"
    return ParityTensors(tensors, entries)


def _load_weights(file: Path, about: dict[str, Any]) -> dict[str, torch.Tensor]:
    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(file).items()
    }
    # Token embedding tables are stored as the few rows that are read.
    for name, table in about.get("sparse_tables", {}).items():
        full = torch.full(table["full_shape"], float(table["fill"]))
        full[weights.pop(table["row_ids"]).long()] = weights.pop(table["rows"])
        weights[name] = full
    return weights


@pytest.fixture
def parity() -> Callable[[str], ParityCase]:
    """Give a function that loads a parity case by name, or skips the test where it is missing."""

    def load(name: str) -> ParityCase:
        for folder in _PARITY_FOLDERS:
            if (folder / name / "case.json").is_file():
                return load_parity_case(folder / name)
        pytest.skip(f"the parity case {name!r} is neither in tests/data nor in ../shared/parity")

    return load


@pytest.fixture
def pixelclip_decoder_weights() -> Callable[..., dict[str, torch.Tensor]]:
    """Give a function that renames the official PixelCLIP decoder's weights to ours."""

    def rename(weights: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
        below = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        return convert_pixelclip_decoder(below)

    return rename


@pytest.fixture
def tiny_clip_config() -> dict[str, Any]:
    """Give the open_clip model config of a two-layer CLIP; about 1.7 million parameters."""
    return {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 8,
            "width": 32,
            "layers": 2,
            "head_width": 16,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }


@pytest.fixture
def tiny_opts(tmp_path: Path, tiny_clip_config: dict[str, Any]) -> list[str]:
    """Give config keys and values for the tiny CLIP, with random weights, on the CPU."""
    path = tmp_path / "tiny_clip.json"
    path.write_text(json.dumps(tiny_clip_config), encoding="utf-8")
    clip = ["MODEL.CLIP.NAME", str(path), "MODEL.CLIP.PRETRAINED", "random"]
    return ["MODEL.DEVICE", "cpu", *clip]


@pytest.fixture
def toy_dataset(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Give a function that registers a dataset of pictures on disk; they are forgotten after.

    It takes the dataset's name, its classes, and sizes or label maps of its pictures; label maps
    come in stripes of all classes by default, pixels are random.
    """
    registered = []

    def register(
        name: str,
        classes: Sequence[str],
        *,
        sizes: Sequence[tuple[int, int]] = ((24, 32), (32, 24)),
        labels: Sequence[np.ndarray] | None = None,
        **metadata: Any,
    ) -> str:
        folder = tmp_path / name
        folder.mkdir()
        rng = np.random.default_rng(0)
        if labels is None:
            labels = [np.indices(size)[0] * len(classes) // size[0] for size in sizes]
        dicts = []
        for number, label_map in enumerate(labels):
            picture, ids = folder / f"{number}.png", folder / f"{number}_labels.png"
            Image.fromarray(rng.integers(0, 256, (*label_map.shape, 3), np.uint8)).save(picture)
            Image.fromarray(label_map.astype(np.uint8)).save(ids)
            dicts.append({"file_name": str(picture), "sem_seg_file_name": str(ids)})
        DatasetCatalog.register(name, lambda: [dict(entry) for entry in dicts])
        registered.append(name)
        metadata = {"ignore_label": 255, "evaluator_type": "sem_seg", **metadata}
        MetadataCatalog.get(name).set(stuff_classes=list(classes), **metadata)
        return name

    yield register
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def run_in_two_processes(tmp_path: Path) -> Callable[[Path], tuple[Any, Any, Any]]:
    """Give a function from a worker file to its reports: of rank 0, of rank 1 and run alone."""
    # Spawned processes cannot import a test module by its name.
    rank_worker = str(Path(__file__).with_name("rank_worker.py"))

    def run(worker: Path) -> tuple[Any, Any, Any]:
        context = multiprocessing.get_context("spawn")
        shared = {"WORKER": str(worker), "FOLDER": str(tmp_path)}
        processes = [
            context.Process(target=runpy.run_path, args=(rank_worker, {**shared, "RANK": rank}))
            for rank in (0, 1)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
        return first, second, runpy.run_path(str(worker), {"RANK": None})["report"]

    return run


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lay out one small image of each benchmark, with labels that hold its highest id."""
    root = tmp_path_factory.mktemp("datasets")
    rng = np.random.default_rng(0)
    for benchmark in BENCHMARKS:
        classes = len(MetadataCatalog.get(benchmark.name).stuff_classes)
        labels = rng.integers(0, classes, (20, 28)).astype(benchmark.label_dtype)
        labels[0, 0] = classes - 1
        pixels = rng.integers(0, 256, (20, 28, 3), dtype=np.uint8)
        for folder, suffix, content in (
            (benchmark.image_folder, benchmark.image_suffix, pixels),
            (benchmark.label_folder, benchmark.label_suffix, labels),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(root / folder / f"mini{suffix}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        yield root


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Put the loggers back after each test: what a run sets up reaches no later test."""
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "ovseg_d2")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    setup_logger.cache_clear()
    yield
    setup_logger.cache_clear()
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def tiny_train_opts(tmp_path: Path, tiny_opts: list[str]) -> list[str]:
    """Give config keys and values for four short steps of CLIPPretrain, patch dropout included."""
    solver = {"IMS_PER_BATCH": 4, "MAX_ITER": 4, "BASE_LR": 0.001, "WARMUP_ITERS": 2}
    solver |= {"LR_SCHEDULER_NAME": "WarmupCosineLR"}
    return [
        *tiny_opts,
        *("MODEL.META_ARCHITECTURE", "CLIPPretrain", "MODEL.CLIP.PATCH_DROPOUT", "0.5"),
        *("DATASETS.TRAIN", "('ovseg_shapes_dev',)", "OUTPUT_DIR", str(tmp_path / "output")),
        *(str(word) for key, value in solver.items() for word in (f"SOLVER.{key}", value)),
    ]


@pytest.fixture
def tiny_ovseg(
    tmp_path: Path, tiny_opts: list[str], toy_dataset: Callable[..., str]
) -> Callable[..., tuple[CfgNode, torch.nn.Module]]:
    """Give a function from further keys and values to the config of a tiny OVSeg, and the model."""
    sizes = {"QUERIES": 6, "CONV_CHANNELS": 32, "MASK_CHANNELS": 8, "DIM": 16, "LAYERS": 1}
    sizes |= {"HEADS": 2, "HIDDEN_DIM": 16, "EMBED_HIDDEN_DIM": 16}
    words = ["red star", "grass", "blue dots"]
    labels = [np.indices((24, 32))[1] // 11, np.full((32, 24), 1)]
    labels[0][:4] = 255
    name = toy_dataset("ovseg_toy_oracles", words, labels=labels, class_sets={"all": [0, 1, 2]})

    def build(*opts: str) -> tuple[CfgNode, torch.nn.Module]:
        keys = (str(w) for k, v in sizes.items() for w in (f"MODEL.OVSEG.MASKFORMER.{k}", v))
        backbone = ("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet")
        cfg = load_config(
            None,
            [
                *(*tiny_opts, *backbone, "MODEL.TIMM.OUT_INDICES", "[1, 2]"),
                *("MODEL.META_ARCHITECTURE", "OVSeg"),
                *("MODEL.SEM_SEG_HEAD.NAME", "OVSegMaskFormerHead", *keys),
                *("DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path / "output")),
                *opts,
            ],
        )
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        model.may_answer = True  # with random weights
        return cfg, model

    return build
