"""The online tokenizer: a learnt projection of features to soft codes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["OnlineTokenizer"]


class OnlineTokenizer(nn.Module):
    """Say how much a feature looks like each of P learnt codes.

    Paper: [masked_distill_clip]: in place of a distance of features, teacher and student pass a
    learnt head and a softmax over soft codewords.
    Departs: the published facts say no more of the head; this is a hidden layer, a projection to a
    small space, and the cosines with the codes there, as in [ibot] and [dino], with one hidden
    layer less.
    """

    def __init__(
        self, dim: int, num_codes: int, *, hidden_dim: int = 2048, code_dim: int = 256
    ) -> None:
        """Build the layers with random weights.

        Args:
            dim: C of the features.
            num_codes: P, at least 2.
            hidden_dim: of the hidden layer; 0 does without one.
            code_dim: of the space that codes lie in.

        Raises:
            ValueError: fewer than two codes.
        """
        super().__init__()
        if num_codes < 2:
            raise ValueError(f"num_codes={num_codes}; give at least 2, among which to tell apart")
        self.num_codes = num_codes
        layers: list[nn.Module] = []
        if hidden_dim:
            layers += [nn.Linear(dim, hidden_dim), nn.GELU()]
        layers.append(nn.Linear(hidden_dim or dim, code_dim))
        self.project = nn.Sequential(*layers)
        self.codes = nn.Parameter(torch.randn(num_codes, code_dim))

    def forward(self, feats: Tensor) -> Tensor:
        """(..., C) features -> (..., P) cosines, to be divided by a temperature."""
        found = F.normalize(self.project(feats), dim=-1)
        return found @ F.normalize(self.codes, dim=-1).to(found.dtype).t()
