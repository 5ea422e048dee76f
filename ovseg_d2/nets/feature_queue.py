"""A queue of feature vectors of earlier batches."""

import torch
from torch import Tensor, nn

__all__ = ["FeatureQueue"]


class FeatureQueue(nn.Module):
    """The latest vectors of a training, first in, first out; part of checkpoints.

    Source: [swav] Sec. 3.1, which balances clusters over a small batch and a queue.
    """

    rows: Tensor
    num_rows: Tensor

    def __init__(self, length: int, width: int) -> None:
        """Build an empty queue.

        Args:
            length: most vectors in the queue.
            width: C of a vector.

        Raises:
            ValueError: a length below 1.
        """
        super().__init__()
        if length < 1:
            raise ValueError(f"length is {length}; give 1 or more vectors")
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("num_rows", torch.zeros((), dtype=torch.int64))

    @property
    def vectors(self) -> Tensor:
        """The vectors in the queue (R, C), the latest first; R is at most the length."""
        return self.rows[: int(self.num_rows)]

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Put vectors (M, C) before all others and drop the oldest."""
        joined = torch.cat([vectors.to(self.rows), self.vectors])[: len(self.rows)]
        self.rows[: len(joined)] = joined
        self.num_rows.fill_(len(joined))
