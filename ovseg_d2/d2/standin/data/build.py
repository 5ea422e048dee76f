"""Loaders of training and test data, from a config or from parts."""

import itertools
import logging
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Sampler

from ..config import CfgNode, configurable
from ..utils import comm
from ..utils.env import seed_all_rng
from .catalog import DatasetCatalog
from .common import AspectRatioGroupedDataset, DatasetFromList, MapDataset, ToIterableDataset
from .dataset_mapper import DatasetMapper
from .samplers import InferenceSampler, TrainingSampler

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "get_detection_dataset_dicts",
    "trivial_batch_collator",
]

_logger = logging.getLogger("detectron2.data.build")


def trivial_batch_collator(batch: list[Any]) -> list[Any]:
    """Leave a batch the list of its samples."""
    return batch


def _reset_worker_seed(worker_id: int) -> None:
    # torch gives each worker a seed of its own, but seeds neither numpy nor random with it.
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)


def get_detection_dataset_dicts(names: str | Sequence[str], filter_empty: bool = True) -> Any:
    """Load registered datasets, one after the other.

    Args:
        names: of one or several datasets.
        filter_empty: leave out images whose ``annotations`` are all crowds, or none. Datasets
            without ``annotations`` (semantic segmentation) are left as they are.

    Returns:
        A list of dicts, or a torch dataset where the registered functions return those.

    Raises:
        AssertionError: no names, or a dataset without samples.
        KeyError: a name that is not registered.
    """
    names = [names] if isinstance(names, str) else list(names)
    assert names, f"names={names}: give at least one dataset, as in cfg.DATASETS.TRAIN."
    unknown = set(names) - set(DatasetCatalog)
    if unknown:
        _logger.warning(
            "The following dataset names are not registered in the DatasetCatalog: %s. "
            "Available datasets are %s",
            unknown,
            DatasetCatalog.list(),
        )
    datasets = [DatasetCatalog.get(name) for name in names]
    if isinstance(datasets[0], Dataset):
        return datasets[0] if len(datasets) == 1 else ConcatDataset(datasets)
    for name, dicts in zip(names, datasets, strict=True):
        assert len(dicts), f"Dataset '{name}' is empty!"
    samples = list(itertools.chain.from_iterable(datasets))
    if filter_empty and "annotations" in samples[0]:
        num_before = len(samples)
        samples = [
            sample
            for sample in samples
            if any(not annotation.get("iscrowd", 0) for annotation in sample["annotations"])
        ]
        _logger.info(
            "Removed %d images with no usable annotations. %d images left.",
            num_before - len(samples),
            len(samples),
        )
        assert samples, f"No valid data found in {','.join(names)}."
    return samples


def _get_batch_size(total_batch_size: int | None, single_gpu_batch_size: int | None) -> int:
    if single_gpu_batch_size:
        if total_batch_size:
            raise ValueError(
                "total_batch_size and single_gpu_batch_size are mutually incompatible. Please "
                f"specify only one; got {total_batch_size} and {single_gpu_batch_size}."
            )
        return single_gpu_batch_size
    world_size = comm.get_world_size()
    assert total_batch_size and total_batch_size > 0 and total_batch_size % world_size == 0, (
        f"Total batch size ({total_batch_size}) must be divisible by the number of gpus "
        f"({world_size})."
    )
    return total_batch_size // world_size


def build_batch_data_loader(
    dataset: Dataset,
    sampler: Sampler | None,
    total_batch_size: int | None,
    *,
    aspect_ratio_grouping: bool = False,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    drop_last: bool = True,
    single_gpu_batch_size: int | None = None,
    prefetch_factor: int = 2,
    seed: int | None = None,
    **kwargs: Any,
) -> Iterable[Any]:
    """Build a loader that yields lists of samples instead of stacked tensors.

    Args:
        dataset: map-style or iterable.
        sampler: of a map-style dataset's indices; None for an iterable one.
        total_batch_size: samples a batch over all processes; divisible by their number.
        aspect_ratio_grouping: batch wide and high images apart, by the samples' ``width`` and
            ``height``. Batches then depend on the number of workers.
        num_workers: loading processes; 0 loads in this one.
        collate_fn: list of samples -> batch; the list itself by default.
        drop_last: drop an incomplete batch at the end.
        single_gpu_batch_size: samples a batch in this process, instead of ``total_batch_size``.
        prefetch_factor: batches (samples, when grouping) that a worker loads ahead.
        seed: of the generator that seeds the workers; torch's global one by default.
        **kwargs: for ``torch.utils.data.DataLoader``.

    Returns:
        Iterable of batches of this process.

    Raises:
        AssertionError: a batch size that the processes cannot share, a sampler for an iterable
            dataset, or grouping without ``drop_last``.
        ValueError: both batch sizes are given.
    """
    batch_size = _get_batch_size(total_batch_size, single_gpu_batch_size)
    _logger.info("Making batched data loader with batch_size=%d", batch_size)
    if isinstance(dataset, IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    else:
        dataset = ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size)
    options: dict[str, Any] = {
        "num_workers": num_workers,
        "worker_init_fn": _reset_worker_seed,
        "prefetch_factor": prefetch_factor if num_workers > 0 else None,
        "generator": None if seed is None else torch.Generator().manual_seed(seed),
    }
    if not aspect_ratio_grouping:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            drop_last=drop_last,
            collate_fn=collate_fn or trivial_batch_collator,
            **options,
            **kwargs,
        )
    assert drop_last, "Aspect ratio grouping will drop incomplete batches."
    # The loader yields single samples, and batches are made of them here.
    samples = DataLoader(dataset, collate_fn=operator.itemgetter(0), **options, **kwargs)
    batches = AspectRatioGroupedDataset(samples, batch_size)
    return batches if collate_fn is None else MapDataset(batches, collate_fn)


def _train_loader_from_config(
    cfg: CfgNode, mapper: Any = None, *, dataset: Any = None, sampler: Sampler | None = None
) -> dict[str, Any]:
    if dataset is None:
        dataset = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        )
    if sampler is None and not isinstance(dataset, IterableDataset):
        name = cfg.DATALOADER.SAMPLER_TRAIN
        _logger.info("Using training sampler %s", name)
        if name != "TrainingSampler":
            raise ValueError(
                f"Unknown training sampler: {name}. Without detectron2 installed, "
                "DATALOADER.SAMPLER_TRAIN can only be 'TrainingSampler'; or pass sampler=."
            )
        sampler = TrainingSampler(len(dataset), seed=cfg.SEED)
    return {
        "dataset": dataset,
        "sampler": sampler,
        "mapper": DatasetMapper(cfg, True) if mapper is None else mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_train_loader_from_config)
def build_detection_train_loader(
    dataset: Any,
    *,
    mapper: Callable[[Any], Any] | None,
    sampler: Sampler | None = None,
    total_batch_size: int | None,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    **kwargs: Any,
) -> Iterable[Any]:
    """Build the endless loader of training batches.

    Called with ``(cfg, mapper=None, dataset=None, sampler=None, ...)`` or with the arguments below;
    with a config these override what it says.

    Args:
        dataset: a list of dicts or a torch dataset.
        mapper: sample -> model input, or None to skip the sample. From a config a
            ``DatasetMapper`` by default; as an argument None leaves the samples as they are.
        sampler: by default ``TrainingSampler``; None for an iterable dataset.
        total_batch_size: samples a batch over all processes.
        aspect_ratio_grouping: see ``build_batch_data_loader``.
        num_workers: see ``build_batch_data_loader``.
        collate_fn: see ``build_batch_data_loader``.
        **kwargs: more of ``build_batch_data_loader``'s.

    Returns:
        Iterable of lists of model inputs.

    Raises:
        AssertionError: see ``build_batch_data_loader``; also no or empty datasets in the config.
        KeyError: a dataset of the config is not registered.
        ValueError: unknown ``DATALOADER.SAMPLER_TRAIN``.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if sampler is None and not isinstance(dataset, IterableDataset):
        sampler = TrainingSampler(len(dataset))
    return build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )


def _test_loader_from_config(
    cfg: CfgNode, dataset_name: str | Sequence[str], mapper: Any = None
) -> dict[str, Any]:
    return {
        "dataset": get_detection_dataset_dicts(dataset_name, filter_empty=False),
        "mapper": DatasetMapper(cfg, False) if mapper is None else mapper,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_test_loader_from_config)
def build_detection_test_loader(
    dataset: Any,
    *,
    mapper: Callable[[Any], Any] | None,
    sampler: Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
) -> DataLoader:
    """Build the loader that goes through a test set once.

    Called with ``(cfg, dataset_name, mapper=None, ...)`` or with the arguments below; no config key
    sets the batch size.

    Args:
        dataset: a list of dicts or a torch dataset.
        mapper: sample -> model input; from a config ``DatasetMapper(cfg, False)`` by default.
        sampler: by default ``InferenceSampler``, which shares the set out among the processes;
            None for an iterable dataset.
        batch_size: samples a batch in this process.
        num_workers: loading processes; 0 loads in this one.
        collate_fn: list of samples -> batch; the list itself by default.

    Returns:
        Loader, with a length, of lists of model inputs.

    Raises:
        AssertionError: an empty dataset, or a sampler for an iterable one.
        KeyError: the name is not registered.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    if isinstance(dataset, IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=False,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )
