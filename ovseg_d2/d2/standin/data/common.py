"""Dataset wrappers between a list of dicts and a loader of mapped samples."""

import copy as copy_module
import itertools
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

__all__ = ["AspectRatioGroupedDataset", "DatasetFromList", "MapDataset", "ToIterableDataset"]

_logger = logging.getLogger("detectron2.data.common")

# A mapper that fails this often for one index is worth a warning.
_FAILURES_TO_REPORT = 3


class _MapIterableDataset(IterableDataset):
    """An iterable dataset, mapped; samples that are mapped to None are left out."""

    def __init__(self, dataset: IterableDataset, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func

    def __iter__(self) -> Iterator[Any]:
        return (item for item in map(self._map_func, self._dataset) if item is not None)

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]  # a TypeError where it has no length


class MapDataset(Dataset):
    """A dataset whose samples have gone through a function; of the style of the one given.

    A sample that the function maps to None is left out of an iterable dataset. In a map-style
    dataset another one takes its place, drawn at random.

    Departs: the substitute depends on the index alone, so that neither workers nor a resumed run
    change it. detectron2 remembers earlier failures, and pickles lambdas with cloudpickle; here a
    loader whose workers are spawned needs a function that pickle knows.
    """

    def __new__(cls, dataset: Any, map_func: Callable[[Any], Any]) -> Any:
        """Choose the class that goes with the dataset's style."""
        if isinstance(dataset, IterableDataset):
            return _MapIterableDataset(dataset, map_func)
        return super().__new__(cls)

    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        """Wrap a dataset.

        Args:
            dataset: map-style, or an ``IterableDataset``.
            map_func: sample -> mapped sample, or None.
        """
        self._dataset = dataset
        self._map_func = map_func

    def __getnewargs__(self) -> tuple[Any, Callable[[Any], Any]]:
        """What pickle hands to ``__new__``."""
        return self._dataset, self._map_func

    def __len__(self) -> int:
        """Length of the dataset that is mapped."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        """The mapped sample, or that of a substitute.

        Raises:
            ValueError: every sample of the dataset is mapped to None.
        """
        index = int(index)
        failed: set[int] = set()
        for candidate in self._iterate_candidates(index):
            if candidate in failed:
                continue
            item = self._map_func(self._dataset[candidate])
            if item is not None:
                return item
            failed.add(candidate)
            if len(failed) == _FAILURES_TO_REPORT:
                _logger.warning(
                    "The mapper gave None for index %d and %d substitutes; trying others.",
                    index,
                    _FAILURES_TO_REPORT - 1,
                )
            if len(failed) == len(self):
                break
        raise ValueError(
            f"The mapper gave None for all {len(self)} samples; let it return a sample for some."
        )

    def _iterate_candidates(self, index: int) -> Iterator[int]:
        rng = random.Random(index)
        yield index
        while True:
            yield rng.randrange(len(self))


class DatasetFromList(Dataset):
    """A list as a dataset."""

    def __init__(self, lst: list, copy: bool = True, serialize: bool = True) -> None:
        """Take over a list.

        Args:
            lst: the samples.
            copy: hand out copies, so that changing one in place leaves the list as it is.
            serialize: hold the samples as one array of bytes, whose memory worker processes share;
                python objects would be copied as soon as a worker merely counts references to them.
                Every sample handed out is a copy then.
        """
        self._copy = copy
        self._serialize = serialize
        if not serialize:
            self._lst = lst
            return
        pickled = [pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL) for item in lst]
        self._ends = torch.tensor([len(item) for item in pickled]).cumsum(0)
        # torch moves a tensor's storage to shared memory when a loader spawns its workers.
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(pickled)), dtype=np.uint8))
        _logger.info(
            "Serialized %d elements, which take %.2f MiB", len(pickled), len(self._bytes) / 2**20
        )

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._ends) if self._serialize else len(self._lst)

    def __getitem__(self, index: int) -> Any:
        """The sample, or a copy of it."""
        if self._serialize:
            start = int(self._ends[index - 1]) if index != 0 else 0
            return pickle.loads(memoryview(self._bytes[start : int(self._ends[index])].numpy()))
        return copy_module.deepcopy(self._lst[index]) if self._copy else self._lst[index]


class ToIterableDataset(IterableDataset):
    """A map-style dataset in a sampler's order, shared out among a loader's workers.

    An iterable dataset is iterated in every worker. Each worker goes through the whole sampler,
    which is cheap, and loads only its own indices.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        shard_sampler: bool = True,
        shard_chunk_size: int = 1,
    ) -> None:
        """Put a dataset in an order.

        Args:
            dataset: map-style.
            sampler: of its indices.
            shard_sampler: share the indices out. False where the sampler itself heeds the workers.
            shard_chunk_size: so many successive indices go to one worker, as many to the next. With
                the batch size, batches are the same whatever the number of workers.

        Raises:
            AssertionError: the dataset is iterable already, or the sampler is none.
        """
        assert not isinstance(dataset, IterableDataset), (
            f"dataset={dataset} is iterable already; pass a map-style one."
        )
        assert isinstance(sampler, Sampler), (
            f"sampler must be a torch.utils.data.Sampler, got {type(sampler).__name__}."
        )
        self.dataset = dataset
        self.sampler = sampler
        self.shard_sampler = shard_sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator[Any]:
        """This worker's samples, in the sampler's order."""
        return (self.dataset[index] for index in self._iterate_indices())

    def __len__(self) -> int:
        """Length of the sampler, over all workers."""
        return len(self.sampler)  # type: ignore[arg-type]  # a TypeError where it has no length

    def _iterate_indices(self) -> Iterator[int]:
        worker = get_worker_info()
        if worker is None or not self.shard_sampler:
            yield from self.sampler
            return
        chunk_ids = itertools.cycle(range(worker.num_workers))
        repeated = itertools.chain.from_iterable(
            itertools.repeat(chunk, self.shard_chunk_size) for chunk in chunk_ids
        )
        for index, owner in zip(self.sampler, repeated, strict=False):
            if owner == worker.id:
                yield index


class AspectRatioGroupedDataset(IterableDataset):
    """Batches of images that are all wider than high, or all not, which spares padding."""

    def __init__(self, dataset: Iterable[dict[str, Any]], batch_size: int) -> None:
        """Wrap single samples.

        Args:
            dataset: yields dicts with ``width`` and ``height``.
            batch_size: samples in a batch; what is left at the end is dropped.
        """
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Batches, in the order in which they become full."""
        groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for sample in self.dataset:
            is_wide = sample["width"] > sample["height"]
            groups[is_wide].append(sample)
            if len(groups[is_wide]) == self.batch_size:
                batch, groups[is_wide] = groups[is_wide], []
                yield batch
