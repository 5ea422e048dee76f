"""Evaluate a model on the test datasets of a config."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ..config import dataset_config
from ..d2.config import CfgNode
from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator, inference_on_dataset
from ..d2.utils import comm
from ..data.labels import LabelReader
from ..data.loaders import build_test_loader, check_dataset_names
from ..data.readers import read_category, read_labels
from ..evaluation import (
    AMBIGUOUS_FILE,
    CLASSES_FILE,
    ClassificationEvaluator,
    LinearProbeEvaluator,
    MaskCropEvaluator,
    OVSegSemSegEvaluator,
    RetrievalEvaluator,
    write_results,
)
from ..plugin import OpenVocabularyModel, OVSeg
from ..vocab import metadata_vocabulary, read_class_names, related_classes
from .ceilings import with_ceiling
from .embedders import EMBEDDERS, with_embedder
from .lambda_sweep import LambdaSweep, SweepEvaluator
from .left_out import LeavingOut, LeavingOutEvaluator
from .results_table import class_numbers, main_numbers, results_table

__all__ = ["build_evaluator", "evaluate"]

_logger = logging.getLogger(__name__)
_MOST_SHOWN = 5  # forgiven pairs of classes
_CAUTIOUS = (
    ClassificationEvaluator,
    LinearProbeEvaluator,
    MaskCropEvaluator,
    OVSegSemSegEvaluator,
    RetrievalEvaluator,
    SweepEvaluator,
)


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_dir: str | None = None
) -> DatasetEvaluator:
    """The evaluator of a dataset, by the ``evaluator_type`` of its metadata.

    ``classification`` and ``linear_probe`` read ``category_id`` of the dataset's dicts, the latter
    ``probe_part`` too, and ``retrieval`` reads ``captions``; all other types are evaluated by
    ``TEST.TASK``, by default segmentation.

    Raises:
        ValueError: a dataset whose metadata lacks ``stuff_classes`` or ``ignore_label``, or that
            has images without labels.
    """
    metadata = MetadataCatalog.get(dataset_name)
    evaluator_type = _evaluator_type(dataset_name)
    if evaluator_type == "retrieval":
        return RetrievalEvaluator()
    of_images = evaluator_type in EMBEDDERS
    for attribute in ("stuff_classes",) if of_images else ("stuff_classes", "ignore_label"):
        if metadata.get(attribute) is None:
            raise ValueError(
                f"dataset {dataset_name!r} has no {attribute}; set it with "
                f"MetadataCatalog.get({dataset_name!r}).set({attribute}=...)"
            )
    read_class_names(metadata, f"dataset {dataset_name!r}")  # refuses anything but a list of names
    if evaluator_type == "classification":
        return ClassificationEvaluator(dataset_name, category_fn=read_category)
    if evaluator_type == "linear_probe":
        return LinearProbeEvaluator(
            dataset_name, category_fn=read_category, penalty=cfg.TEST.PROBE_PENALTY
        )
    if cfg.TEST.TASK == "mask_crops":
        return MaskCropEvaluator(dataset_name)
    codes = LabelReader().codes_of(dataset_name)
    related = None
    if cfg.TEST.AMBIGUITY != "off":
        vocabulary = metadata_vocabulary(metadata, f"dataset {dataset_name!r}")
        related = related_classes(vocabulary, cfg.TEST.AMBIGUITY)
    return OVSegSemSegEvaluator(
        dataset_name,
        output_dir=output_dir,
        sem_seg_loading_fn=partial(read_labels, colors=bool(codes.colors)),
        codes=codes,
        own_words=cfg.TEST.OWN_WORDS,
        related=related,
    )


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    *,
    build_loader: Callable[[CfgNode, str], Iterable[Any]] = build_test_loader,
    build_evaluator: Callable[[CfgNode, str], DatasetEvaluator] = build_evaluator,
) -> OrderedDict[str, Any]:
    """Evaluate on every dataset of ``DATASETS.TEST`` and write ``OUTPUT_DIR/results.json``.

    Images that do not fit into memory are left out, counted and named in the log.

    A dataset with keys in ``TEST.DATASETS`` has its own config, which its loader, its evaluator and
    the options of inference are built from, on the model's weights.

    Args:
        cfg: reads ``DATASETS.TEST``, ``OUTPUT_DIR`` and ``TEST``.
        model: takes batched input dicts.
        evaluators: one for each dataset, in place of those from ``build_evaluator``.
        build_loader: config and dataset name -> batches of input dicts.
        build_evaluator: config and dataset name -> evaluator.

    Returns:
        Dataset name -> task -> numbers on rank 0, empty elsewhere; for a single dataset its tasks
        alone, as in detectron2's ``DefaultTrainer.test``.

    Raises:
        ValueError: no test dataset, not one evaluator for each, a ceiling or lambdas that do not
            fit the model, or an unknown dataset in ``TEST.DATASETS``.
    """
    names = list(cfg.DATASETS.TEST)
    if not names:
        raise ValueError("DATASETS.TEST is empty; name at least one dataset to evaluate on")
    if isinstance(evaluators, DatasetEvaluator):
        evaluators = [evaluators]
    if evaluators is not None and len(evaluators) != len(names):
        raise ValueError(f"{len(evaluators)} evaluators for {len(names)} datasets; give one each")
    check_dataset_names(cfg.TEST.DATASETS)
    _share_statistics(model)
    # A fault in the options of the last dataset shows before the first is evaluated.
    configs = [dataset_config(cfg, name) for name in names]
    models = [
        _with_options(model, cfg, own, name) for own, name in zip(configs, names, strict=True)
    ]
    results: OrderedDict[str, Any] = OrderedDict()
    for number, (name, own, own_model) in enumerate(zip(names, configs, models, strict=True)):
        loader = build_loader(own, name)
        evaluator = evaluators[number] if evaluators else build_evaluator(own, name)
        if own.TEST.LAMBDAS and _evaluator_type(name) not in EMBEDDERS:
            others = {lam: build_evaluator(own, name) for lam in own.TEST.LAMBDAS}
            evaluator = SweepEvaluator(evaluator, others)
        measured = LeavingOut(_measured(own, name, own_model))
        tasks = inference_on_dataset(measured, loader, LeavingOutEvaluator(evaluator))
        if not comm.is_main_process():
            continue
        results[name] = tasks
        _report(own, name, own_model, tasks)
        for caution in evaluator.cautions if isinstance(evaluator, _CAUTIOUS) else ():
            _logger.warning("%s", caution)
        flat = {k: v for numbers in tasks.values() for k, v in main_numbers(numbers).items()}
        path = write_results(Path(cfg.OUTPUT_DIR), {name: flat})
        _logger.info("results of %s written to %s", name, path)
        classes = {k: v for numbers in tasks.values() for k, v in class_numbers(numbers).items()}
        if classes:
            path = write_results(Path(cfg.OUTPUT_DIR), {name: classes}, CLASSES_FILE)
            _logger.info("results of single classes of %s written to %s", name, path)
        forgiven = getattr(evaluator, "forgiven", None)
        if forgiven is not None:
            for pair in forgiven[:_MOST_SHOWN]:
                _logger.info("forgiven on %s: %s", name, _shown(pair))
            path = write_results(Path(cfg.OUTPUT_DIR), {name: {"pairs": forgiven}}, AMBIGUOUS_FILE)
            _logger.info("the %d pairs of classes forgiven on %s: %s", len(forgiven), name, path)
    return next(iter(results.values())) if len(results) == 1 else results


def _shown(pair: dict[str, Any]) -> str:
    """A forgiven pair in words."""
    what = f"{pair['predicted']} for {pair['labelled']} ({pair['relation']})"
    return f"{what} in {pair['pixels']} pixels, {pair['gain']:+.2f} mIoU"


@torch.no_grad()
def _share_statistics(model: nn.Module) -> None:
    """Copy the batch statistics of rank 0, which its checkpoints hold, to all processes."""
    if comm.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


def _evaluator_type(dataset_name: str) -> str:
    return MetadataCatalog.get(dataset_name).get("evaluator_type") or "sem_seg"


def _with_options(model: nn.Module, cfg: CfgNode, own: CfgNode, dataset_name: str) -> nn.Module:
    """The model with the options of a dataset's own config; the model itself if they are the same.

    Raises:
        ValueError: other options for a model that is not of the plugin, or a word list that does
            not fit the dataset.
    """
    plain = model.module if isinstance(model, DistributedDataParallel) else model
    if own.MODEL != cfg.MODEL:
        if not isinstance(plain, OpenVocabularyModel):
            raise ValueError(
                f"TEST.DATASETS.{dataset_name} has keys of MODEL, and a {type(plain).__name__} has "
                "no with_options; leave them out, or derive it from OpenVocabularyModel"
            )
        model = plain = plain.with_options(own)
    if isinstance(plain, OpenVocabularyModel) and _evaluator_type(dataset_name) not in EMBEDDERS:
        plain.inputs.check_words(dataset_name)
    return model


def _measured(cfg: CfgNode, dataset_name: str, model: nn.Module) -> nn.Module:
    """The model, its ceiling, sweep or embedder, as the config and the dataset's evaluator ask."""
    evaluator_type = _evaluator_type(dataset_name)
    if evaluator_type not in EMBEDDERS:
        if cfg.TEST.CEILING or cfg.TEST.LAMBDAS:
            model = model.module if isinstance(model, DistributedDataParallel) else model
        measured = with_ceiling(cfg.TEST.CEILING, model)
        return LambdaSweep(measured, cfg.TEST.LAMBDAS) if cfg.TEST.LAMBDAS else measured
    if cfg.TEST.CEILING:
        raise ValueError(
            f"TEST.CEILING {cfg.TEST.CEILING!r} is one of segmentation, and dataset "
            f"{dataset_name!r} is evaluated by {evaluator_type}; leave one of them out"
        )
    return with_embedder(evaluator_type, model)


def _report(
    cfg: CfgNode, dataset_name: str, model: nn.Module, tasks: dict[str, dict[str, Any]]
) -> None:
    """Log a table of the main numbers of each task."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    method = type(model).__name__
    method += f", ceiling {cfg.TEST.CEILING}" if cfg.TEST.CEILING else ""
    class_sets = MetadataCatalog.get(dataset_name).get("class_sets") or {}
    for numbers in tasks.values():
        table = results_table(
            dataset_name,
            method,
            numbers,
            lam=model.lam if isinstance(model, OVSeg) and not cfg.TEST.CEILING else None,
            lams=cfg.TEST.LAMBDAS,
            class_sets=class_sets,
        )
        _logger.info("results on %s", table, extra={"in_full": True})
