"""``detectron2.data.samplers``: the indices one process loads, in order."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from ..utils import comm

__all__ = ["InferenceSampler"]


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
