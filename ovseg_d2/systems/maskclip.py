"""MaskCLIP: open-vocabulary segmentation with a frozen CLIP and no training at all.

Source: [maskclip] arXiv 2112.01071. (The other paper of that name is `MaskedDistillCLIP`.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.ops import dense_argmax

__all__ = ["MaskCLIP"]


class MaskCLIP(nn.Module):
    """Dense CLIP features compared with text embeddings, location by location.

    With the last attention bypassed, each location's value embedding v_ij lives in the joint space
    of image and text, and the text embeddings t_k serve as a 1x1 convolution over it:
    s_kij = cos(v_ij, t_k).

    Departs: the official code spreads the patch grid over the unpadded image; here it covers the
    padded one, as it did in the tower. They are the same where the image is whole patches. It also
    runs with ImageNet's pixel statistics, the exact GELU and a LayerNorm epsilon of 1e-6; here
    all three are the tower's own, which is what CLIP was trained with.

    Args:
        tower: a CLIP tower; used as it is, its parameters' gradient flags included.
        last_block: what becomes of the tower's last block.
    """

    def __init__(self, tower: CLIPTower, *, last_block: LastBlock | None = None) -> None:
        """Keep the parts."""
        super().__init__()
        self.tower = tower
        self.last_block = LastBlock() if last_block is None else last_block

    def forward(self, images: Tensor, text_embeds: Tensor) -> Tensor:
        """Score every patch for every class; differentiable.

        Args:
            images: (B, 3, H, W) RGB in 0..255, any size.
            text_embeds: (K, D) unit norm, from a `TextBank` on the same tower.

        Returns:
            (B, K, h, w) cosines in [-1, 1], on the grid that covers the padded images.

        Raises:
            ValueError: text embeddings that are not (K, D) with the tower's D.
        """
        if text_embeds.dim() != 2 or text_embeds.shape[1] != self.tower.embed_dim:
            raise ValueError(
                f"text_embeds have shape {tuple(text_embeds.shape)}, but this tower's joint "
                f"embedding has D = {self.tower.embed_dim}; give (K, D) from a TextBank on it"
            )
        feats = self.tower.dense_feats(self.tower.normalize(images), self.last_block)
        # Cosines in half precision would make ties of what are different classes.
        embeds = F.normalize(feats.float(), dim=1)
        return torch.einsum("bdhw,kd->bkhw", embeds, text_embeds.to(embeds))

    @torch.no_grad()
    def segment(
        self, images: Tensor, text_embeds: Tensor, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Label every pixel; in evaluation mode whatever the mode of the tower, no gradient.

        Args:
            images: (B, 3, H, W) RGB in 0..255.
            text_embeds: (K, D) unit norm.
            size: (h, w) of the labels; None means that of the images.

        Returns:
            (B, h, w) int64 class indices.
        """
        with _evaluating(self):
            scores = self(images, text_embeds)
        image_h, image_w = images.shape[-2:]
        patch_h, patch_w = self.tower.patch_size
        padded_size = (scores.shape[-2] * patch_h, scores.shape[-1] * patch_w)
        return dense_argmax(
            scores,
            (image_h, image_w) if size is None else size,
            crop=padded_size,
            image_size=(image_h, image_w),
        )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; the tower may be shared with something in training."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True
