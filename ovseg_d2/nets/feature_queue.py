"""A queue of feature vectors of earlier batches."""

import torch
from torch import Tensor, nn

__all__ = ["FeatureQueue"]


class FeatureQueue(nn.Module):
    """The latest vectors of a training, first in, first out; checkpoints hold them.

    Source: [swav] Sec. 3.1, whose clusters are balanced over a batch and a queue where batches are
    small.
    """

    rows: Tensor
    num_rows: Tensor

    def __init__(self, length: int, width: int) -> None:
        """Start empty.

        Args:
            length: most vectors that are kept.
            width: C of each.

        Raises:
            ValueError: no length.
        """
        super().__init__()
        if length < 1:
            raise ValueError(f"a queue of {length} vectors holds nothing; give 1 or more")
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("num_rows", torch.zeros((), dtype=torch.int64))

    @property
    def vectors(self) -> Tensor:
        """What there is: (R, C), the latest first, R at most the length."""
        return self.rows[: int(self.num_rows)]

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Put vectors (M, C) before those that are there; the oldest are lost."""
        joined = torch.cat([vectors.to(self.rows), self.vectors])[: len(self.rows)]
        self.rows[: len(joined)] = joined
        self.num_rows.fill_(len(joined))
