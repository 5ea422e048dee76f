"""The loader of test data."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .samplers import InferenceSampler

__all__ = ["build_detection_test_loader"]


class _MappedList(Dataset):
    """A list whose samples go through a function.

    The samples are held as one array of bytes, whose memory worker processes share; Python objects
    would be copied as soon as a worker merely counts references to them.
    """

    def __init__(self, samples: list[Any], map_func: Callable[[Any], Any]) -> None:
        pickled = [pickle.dumps(sample, protocol=pickle.HIGHEST_PROTOCOL) for sample in samples]
        self._ends = torch.tensor([len(sample) for sample in pickled]).cumsum(0)
        # torch moves a tensor's storage to shared memory when a loader spawns its workers.
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(pickled)), dtype=np.uint8))
        self._map_func = map_func

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        start = int(self._ends[index - 1]) if index != 0 else 0
        sample = pickle.loads(memoryview(self._bytes[start : int(self._ends[index])].numpy()))
        return self._map_func(sample)


def build_detection_test_loader(
    dataset: list[Any],
    *,
    mapper: Callable[[Any], Any],
    sampler: Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
) -> DataLoader:
    """Build the loader that goes through a test set once.

    Args:
        dataset: dataset dicts; the mapper gets a copy of each.
        mapper: sample -> model input.
        sampler: by default ``InferenceSampler``, which shares the set out among the processes.
        batch_size: samples a batch in this process.
        num_workers: loading processes; 0 loads in this one.

    Returns:
        Loader, with a length, of lists of model inputs.
    """
    return DataLoader(
        _MappedList(dataset, mapper),
        batch_size=batch_size,
        sampler=InferenceSampler(len(dataset)) if sampler is None else sampler,
        num_workers=num_workers,
        collate_fn=list,
    )
