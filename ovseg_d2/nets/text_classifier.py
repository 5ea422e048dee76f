"""Text embeddings as the classifier of dense features, fixed or through a learnt mapper."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import at_least_float32

__all__ = ["MapperKind", "TextClassifier"]

MapperKind = Literal["none", "linear", "mlp"]


class TextClassifier(nn.Module):
    """Text embeddings t_k as a 1x1 convolution: s_kij = t_k . f_ij.

    Frozen text embeddings are the classifier of MaskCLIP+; with a learnt mapper M, phi = M(t), they
    are that of the fine-tuning that [maskclip] argues against.

    Paper: [maskclip] Sec. 3.1, Eq. (1) and (2), and Sec. 3.3.
    Departs: a learnt background replaces the texts of the vocabulary's background classes; the
    release, whose word lists have no background class, puts it before all classes.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        mapper: MapperKind = "none",
        learn_background: bool = False,
        logit_scale: float | None = None,
    ) -> None:
        """Build mapper and background with random weights.

        Args:
            embed_dim: D.
            mapper: from text embeddings to weights: "none" is the identity, "linear" one layer,
                "mlp" two layers of width D with a ReLU between them.
            learn_background: learn a vector for background, normalised in `forward`.
            logit_scale: factor of the cosines; None takes products with features of any length, as
                the release.

        Raises:
            ValueError: another mapper, or a scale that is not positive.
        """
        super().__init__()
        if mapper not in get_args(MapperKind):
            raise ValueError(f"mapper is {mapper!r}; choose one of {get_args(MapperKind)}")
        if logit_scale is not None and not logit_scale > 0:
            raise ValueError(f"logit_scale is {logit_scale}; give a positive factor, or None")
        self.logit_scale = logit_scale
        self.mapper: nn.Module | None = None
        if mapper == "linear":
            self.mapper = nn.Linear(embed_dim, embed_dim)
        elif mapper == "mlp":
            self.mapper = nn.Sequential(
                nn.Linear(embed_dim, embed_dim), nn.ReLU(), nn.Linear(embed_dim, embed_dim)
            )
        self.background: nn.Parameter | None = None
        if learn_background:
            self.background = nn.Parameter(torch.randn(embed_dim))

    def forward(
        self, feats: Tensor, text_embeds: Tensor, background_rows: Sequence[int] = ()
    ) -> Tensor:
        """Score every location for every class.

        Args:
            feats: (B, D, h, w) raw.
            text_embeds: (K, D) unit norm.
            background_rows: rows that the learnt background replaces, if there is one.

        Returns:
            (B, K, h, w) logits, float32 at least, under autocast too.
        """
        # Autocast would run the einsum in half precision.
        with torch.autocast(feats.device.type, enabled=False):
            feats = at_least_float32(feats)
            weights = text_embeds.to(feats)
            if self.mapper is not None:
                dtype = next(self.mapper.parameters()).dtype
                weights = self.mapper(weights.to(dtype)).to(feats)
            if self.background is not None and len(background_rows):
                is_background = torch.zeros(len(weights), 1, dtype=torch.bool, device=feats.device)
                is_background[list(background_rows)] = True
                background = F.normalize(self.background.to(feats), dim=0)
                weights = torch.where(is_background, background, weights)
            if self.logit_scale is not None:
                feats = F.normalize(feats, dim=1)
                weights = self.logit_scale * F.normalize(weights, dim=1)
            return torch.einsum("bdhw,kd->bkhw", feats, weights)
