"""The symmetric contrastive loss of CLIP, over the pairs of all ranks."""

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
import torch.nn.functional as F
from torch import Tensor


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_grad(values: Tensor) -> Tensor:
    """Concatenate a tensor of every rank; gradients flow back to the rank each row came from.

    Args:
        values: (B, ...), of the same shape on every rank.

    Returns:
        (world * B, ...) in the order of the ranks; ``values`` itself in a single process.
    """
    if _world_size() == 1:
        return values
    if values.is_floating_point():
        return torch.cat(dist_nn.all_gather(values), dim=0)
    parts = [torch.empty_like(values) for _ in range(_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts, dim=0)


def contrastive_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    text_ids: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE between images and their texts.

    Paper: [clip] Sec. 2.3 and Figure 3: the mean of the cross entropies over rows and columns of
    the scaled cosine matrix, its diagonal being the right answers.
    Departs: texts that are equal are not each other's negatives. A pair off the diagonal whose
    text equals the diagonal's is left out of the sum, so that a caption that occurs twice in a
    batch does not push its own pictures away. Without ``text_ids`` the loss is the paper's.

    Args:
        image_embeds: (B, D) unit norm, this rank's.
        text_embeds: (B, D) unit norm, row i belongs to image i.
        logit_scale: 0-dim, what the cosines are multiplied with.
        text_ids: (B,) integers, equal where the texts are equal, on all ranks alike.

    Returns:
        0-dim loss. Every rank gives the loss of its own rows against the columns of all ranks; the
        mean over ranks (what DDP's gradient averaging needs) is the loss of the joined batch.

    Raises:
        ValueError: if the two batches do not have the same shape (B, D), or there are not B ids.
    """
    if image_embeds.shape != text_embeds.shape or image_embeds.dim() != 2:
        raise ValueError(
            f"image_embeds {tuple(image_embeds.shape)} and text_embeds {tuple(text_embeds.shape)} "
            "must have the same shape (B, D): give one text for each image"
        )
    batch = image_embeds.shape[0]
    if text_ids is not None and text_ids.shape != (batch,):
        raise ValueError(
            f"text_ids {tuple(text_ids.shape)} must be ({batch},): give one id for each text"
        )
    first = dist.get_rank() * batch if _world_size() > 1 else 0
    targets = torch.arange(first, first + batch, device=image_embeds.device)
    image_logits = logit_scale * image_embeds @ gather_with_grad(text_embeds).t()
    text_logits = logit_scale * text_embeds @ gather_with_grad(image_embeds).t()
    if text_ids is not None:
        same = text_ids[:, None] == gather_with_grad(text_ids)[None, :]
        same[torch.arange(batch, device=same.device), targets] = False
        image_logits = image_logits.masked_fill(same, -torch.inf)
        text_logits = text_logits.masked_fill(same, -torch.inf)
    return 0.5 * (F.cross_entropy(image_logits, targets) + F.cross_entropy(text_logits, targets))
