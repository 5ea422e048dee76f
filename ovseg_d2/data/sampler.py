"""Order and randomness of training samples, as functions of the seed and the position.

Training draws from an endless stream of shuffled passes over a dataset. Position p of the stream is
a function of (seed, p) alone; iteration i uses the positions from i * B to (i + 1) * B, and rank r
of W takes a share of B / W consecutive positions. So a run that is resumed at iteration i continues
with the data of the uninterrupted run, and two processes share the batches of one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

__all__ = ["Draw", "SampleStream", "numpy_seeded", "sample_rng"]


class Draw(NamedTuple):
    """One position of the stream.

    Attributes:
        index: number of the sample in the dataset.
        seed: seed of the stream.
        position: position in the stream, counted over all ranks and iterations.
    """

    index: int
    seed: int
    position: int


class SampleStream(Sampler[Draw]):
    """Endless, seeded, resumable stream of one rank's draws."""

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_iteration: int = 0,
        shuffle: bool = True,
    ) -> None:
        """Check the sizes; drawing starts with iteration.

        Args:
            size: number of samples of the dataset.
            batch_size: B, samples of an iteration over all ranks.
            seed: any integer.
            rank: number of this process.
            world_size: W, number of processes; it divides ``batch_size``.
            start_iteration: iteration of the first draw.
            shuffle: False passes over the dataset in order.

        Raises:
            ValueError: an empty dataset, or a batch that cannot be shared out.
        """
        if size <= 0:
            raise ValueError(f"size={size}: the training dataset is empty")
        if batch_size <= 0 or batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} cannot be shared out to {world_size} processes; "
                "set SOLVER.IMS_PER_BATCH to a multiple of their number"
            )
        self._size = size
        self._batch_size = batch_size
        self._seed = seed % 2**32
        self._rank = rank
        self._world_size = world_size
        self.start_iteration = start_iteration
        self._shuffle = shuffle
        self._pass: tuple[int, torch.Tensor] | None = None

    @property
    def share(self) -> int:
        """Number of samples of an iteration on one rank."""
        return self._batch_size // self._world_size

    def __iter__(self) -> Iterator[Draw]:
        """Draw without end, from ``start_iteration`` on."""
        iteration = self.start_iteration
        while True:
            first = iteration * self._batch_size + self._rank * self.share
            for position in range(first, first + self.share):
                yield Draw(self._index_at(position), self._seed, position)
            iteration += 1

    def _index_at(self, position: int) -> int:
        number, offset = divmod(position, self._size)
        if not self._shuffle:
            return offset
        if self._pass is None or self._pass[0] != number:
            rng = np.random.Generator(np.random.PCG64([self._seed, number]))
            self._pass = (number, torch.from_numpy(rng.permutation(self._size)))
        return int(self._pass[1][offset])


def sample_rng(draw: Draw, purpose: int = 0) -> np.random.Generator:
    """Random generator of a sample's augmentation, independent for each ``purpose``."""
    return np.random.Generator(np.random.PCG64([draw.seed, draw.position, 1 + purpose]))


@contextmanager
def numpy_seeded(draw: Draw) -> Iterator[None]:
    """Seed ``numpy.random``, which detectron2's transforms read, by the draw, and restore it."""
    state = np.random.get_state()
    np.random.seed(sample_rng(draw, purpose=1).integers(0, 2**32, size=4, dtype=np.uint32))
    try:
        yield
    finally:
        np.random.set_state(state)
