"""The online tokenizer: a learnt projection of features to soft codes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["OnlineTokenizer"]


class OnlineTokenizer(nn.Module):
    """Cosines of projected features with P learnt codes.

    Paper: [masked_distill_clip]: teacher and student are compared after a learnt head and a softmax
    over soft codewords, not by a distance of features.
    Departs: the published facts do not define the head; this one has a hidden layer, a projection
    to a small space, and the cosines with the codes there, as in [ibot] and [dino], with one hidden
    layer less.
    """

    def __init__(
        self, dim: int, num_codes: int, *, hidden_dim: int = 2048, code_dim: int = 256
    ) -> None:
        """Build the layers with random weights.

        Args:
            dim: C of the features.
            num_codes: P, at least 2.
            hidden_dim: width of the hidden layer; 0 leaves it out.
            code_dim: width of the codes.

        Raises:
            ValueError: fewer than two codes.
        """
        super().__init__()
        if num_codes < 2:
            raise ValueError(f"num_codes={num_codes}; give at least 2 codes")
        self.num_codes = num_codes
        layers: list[nn.Module] = []
        if hidden_dim:
            layers += [nn.Linear(dim, hidden_dim), nn.GELU()]
        layers.append(nn.Linear(hidden_dim or dim, code_dim))
        self.project = nn.Sequential(*layers)
        self.codes = nn.Parameter(torch.randn(num_codes, code_dim))

    def forward(self, feats: Tensor) -> Tensor:
        """Map features (..., C) -> cosines (..., P), to be divided by a temperature."""
        projected = F.normalize(self.project(feats), dim=-1)
        return projected @ F.normalize(self.codes, dim=-1).to(projected.dtype).t()
