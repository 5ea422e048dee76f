"""``detectron2.data.samplers``: the indices one process loads, in order."""

import itertools
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from ..utils import comm

__all__ = ["InferenceSampler", "TrainingSampler"]


class TrainingSampler(Sampler[int]):
    """An endless stream of indices, one permutation of the dataset after the other.

    All processes shuffle alike and each takes every world-size-th index, so that together they see
    the one stream. Workers of a loader are not considered here but in ``ToIterableDataset``.
    """

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None) -> None:
        """Begin a stream; where ``seed`` is None every process must do so.

        Args:
            size: number of samples in the dataset, above 0.
            shuffle: permute anew each round; otherwise count up.
            seed: of the permutations, the same in all processes. None draws one, which they share.

        Raises:
            TypeError: ``size`` is no int.
            ValueError: ``size`` is not positive.
        """
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler(size=) expects an int. Got type {type(size)}.")
        if size <= 0:
            raise ValueError(f"TrainingSampler(size=) expects a positive int. Got {size}.")
        self._size = size
        self._shuffle = shuffle
        self._seed = int(comm.shared_random_seed() if seed is None else seed)
        self._rank = comm.get_rank()
        self._world_size = comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        """This process's share of the stream, from its beginning."""
        return itertools.islice(self._iterate_indices(), self._rank, None, self._world_size)

    def _iterate_indices(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            if self._shuffle:
                yield from torch.randperm(self._size, generator=generator).tolist()
            else:
                yield from range(self._size)


class InferenceSampler(Sampler[int]):
    """Each index exactly once: one contiguous block per process, the larger blocks first."""

    def __init__(self, size: int) -> None:
        """Find this process's block.

        Args:
            size: number of samples in the dataset, above 0.

        Raises:
            AssertionError: ``size`` is not positive.
        """
        assert size > 0, f"InferenceSampler(size=) expects a positive int. Got {size}."
        share, rest = divmod(size, comm.get_world_size())
        rank = comm.get_rank()
        # Every rank before this one holds a share, and the first `rest` ranks one index more.
        first = rank * share + min(rank, rest)
        self._local_indices = range(first, first + share + (rank < rest))

    def __iter__(self) -> Iterator[int]:
        """This process's block, in order."""
        return iter(self._local_indices)

    def __len__(self) -> int:
        """Length of this process's block."""
        return len(self._local_indices)
