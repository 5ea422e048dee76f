"""The symmetric contrastive loss of CLIP, over the pairs of all ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ovseg_d2.ops import at_least_float32

__all__ = ["contrastive_loss", "gather_with_grad"]


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_grad(values: Tensor) -> Tensor:
    """Concatenate a tensor of every rank; gradients flow back to the rank of each row.

    Args:
        values: (B, ...), of the same shape on every rank.

    Returns:
        (world * B, ...) in the order of the ranks; ``values`` itself in a single process.
    """
    if _world_size() == 1:
        return values
    return _Gather.apply(values) if values.is_floating_point() else _gather(values)


def _gather(values: Tensor) -> Tensor:
    values = values.contiguous()
    parts = [torch.empty_like(values) for _ in range(_world_size())]
    dist.all_gather(parts, values)
    return torch.cat(parts, dim=0)


class _Gather(torch.autograd.Function):
    """All-gather with gradients: torch's function is deprecated, its successor private."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """(B, ...) of this rank -> (world * B, ...)."""
        return _gather(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """(world * B, ...) of this rank -> (B, ...), summed over the ranks."""
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(_world_size())[dist.get_rank()]


def contrastive_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    text_ids: Tensor | None = None,
    negative_embeds: Tensor | None = None,
    negative_mask: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE between images and their texts.

    Paper: [clip] Sec. 2.3 and Figure 3: the mean of the cross entropies over rows and columns of
    the scaled cosine matrix, whose diagonal holds the targets.
    Departs: equal texts are not each other's negatives: a text of an image is no negative of that
    image elsewhere in the batch. An image may have several texts; each is a target, without the
    image's other texts as negatives. With one text an image and without ``text_ids`` the loss is
    the paper's.

    Args:
        image_embeds: (B, D) unit norm, of this rank.
        text_embeds: (B, D), or (B, M, D) for M texts an image; unit norm, row i is image i's.
        logit_scale: 0-dim, factor of the cosines.
        text_ids: (B,) or (B, M) integers, equal for equal texts on all ranks; None: all texts
            differ.
        negative_embeds: (B, N, D) unit norm, wrong texts of the image of their row, compared with
            this image alone ([negclip] Sec. 4.1).
        negative_mask: (B, N) bool, the negatives that count; None: all.

    Returns:
        0-dim loss, in float32 or wider, of this rank's rows against the columns of all ranks. The
        mean over ranks, as in DDP's averaging of gradients, is the loss of the joined batch.

    Raises:
        ValueError: shapes do not fit.
    """
    texts = text_embeds.unsqueeze(1) if text_embeds.dim() == 2 else text_embeds
    if image_embeds.dim() != 2 or texts.dim() != 3 or image_embeds.shape != texts[:, 0].shape:
        raise ValueError(
            f"image_embeds {tuple(image_embeds.shape)} and text_embeds {tuple(text_embeds.shape)} "
            "must be (B, D) and (B, D) or (B, M, D): give each image the same number of texts"
        )
    if text_ids is not None and text_ids.shape != text_embeds.shape[:-1]:
        raise ValueError(
            f"text_ids {tuple(text_ids.shape)} must be {tuple(text_embeds.shape[:-1])}: give one "
            "id for each text"
        )
    batch, num_texts, _ = texts.shape
    rank = dist.get_rank() if _world_size() > 1 else 0
    if text_ids is None:
        first = rank * batch * num_texts
        text_ids = torch.arange(first, first + batch * num_texts, device=texts.device)
    ids = text_ids.reshape(batch, num_texts)
    all_ids = gather_with_grad(ids)

    # Cosines times 100 need more digits than products in mixed precision have.
    with torch.autocast(texts.device.type, enabled=False):
        image_embeds, texts = at_least_float32(image_embeds), at_least_float32(texts)
        image_logits = logit_scale * image_embeds @ gather_with_grad(texts).flatten(0, 1).t()
        text_logits = logit_scale * texts.flatten(0, 1) @ gather_with_grad(image_embeds).t()
        right = logit_scale * torch.einsum("bd,bmd->bm", image_embeds, texts)
        # Pairs of image and text that belong together, by rows and by columns.
        given = (ids[:, :, None] == all_ids.flatten()[None, None, :]).any(dim=1)
        given_to = (ids.flatten()[:, None, None] == all_ids[None]).any(dim=2)
        wrong_texts = image_logits.masked_fill(given, -torch.inf).logsumexp(dim=1)[:, None]
        if negative_embeds is not None:
            wrong = logit_scale * torch.einsum(
                "bd,bnd->bn", image_embeds, at_least_float32(negative_embeds)
            )
            if negative_mask is not None:
                wrong = wrong.masked_fill(~negative_mask, -torch.inf)
            wrong_texts = torch.cat([wrong_texts, wrong], dim=1).logsumexp(dim=1, keepdim=True)
        wrong_images = text_logits.masked_fill(given_to, -torch.inf).logsumexp(dim=1).view_as(right)
        image_loss = torch.logaddexp(right, wrong_texts) - right
        text_loss = torch.logaddexp(right, wrong_images) - right
        return 0.5 * (image_loss + text_loss).mean()
