"""Attention of a ViT's class token for texts."""

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops import upsample_scores

from .tower import CLIPTower
from .vit import vit_tokens
from .vit_blocks import project, reads_class_token_alone, run_blocks


def attention_to_texts(tower: CLIPTower, image: Tensor, text_embeds: Tensor) -> Tensor:
    """Attention of the class token in the last block for each text.

    The mean over the heads of max(0, A * dc/dA), with A the attention and c the cosine of image
    and text: high at patches that are attended to and raise the cosine.

    Source: [chefer] Eq. 5, for the last block only, whose attention CLIP's loss reaches directly.

    Args:
        tower: the CLIP; only read.
        image: (1, 3, H, W) normalised.
        text_embeds: (R, D) unit norm.

    Returns:
        (R, h, w) float, at least 0, in units of the cosine; no gradient.

    Raises:
        ValueError: the image tower does not pool by a class token with ordinary attention.
    """
    visual = tower.model.visual
    if not isinstance(visual, VisionTransformer) or not reads_class_token_alone(visual):
        raise ValueError(
            f"the image tower, a {type(visual).__name__}, does not pool by a class token in its "
            "last block, so there is no attention to show; choose a ViT that pools by its class "
            "token, or heat maps of cosines"
        )
    with torch.no_grad():
        tokens, grid = vit_tokens(visual, image)
        *blocks, last = visual.transformer.resblocks
        tokens = run_blocks(visual, tokens, blocks)
        attn, normed = last.attn, last.ln_1(tokens)
        qkv = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q[:, :, :1] @ k.transpose(2, 3) * q.shape[-1] ** -0.5  # (1, heads, 1, 1 + N)
    with torch.enable_grad():
        weights = scores.softmax(dim=-1).requires_grad_()
        gathered = attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
        class_token = tokens[:, :1] + last.ls_1(gathered)
        class_token = class_token + last.ls_2(last.mlp(last.ln_2(class_token)))
        pooled, _ = visual._pool(class_token)
        image_embeds = F.normalize(project(visual, pooled), dim=-1)
        cosines = text_embeds.detach().to(image_embeds) @ image_embeds[0]
        gradients = [
            torch.autograd.grad(cosine, weights, retain_graph=True)[0] for cosine in cosines
        ]
    positive = (torch.stack(gradients) * weights.detach()).clamp(min=0)  # (R, 1, heads, 1, 1 + N)
    return positive.mean(dim=2)[:, 0, 0, 1:].unflatten(1, grid)


def attention_at_pixels(
    tower: CLIPTower, maps: Tensor, image: Tensor, size: tuple[int, int]
) -> Tensor:
    """Maps (C, h, w) on the patch grid of an image (1, 3, H, W) -> (C, *size)."""
    patch_h, patch_w = tower.patch_size
    padded_size = (maps.shape[1] * patch_h, maps.shape[2] * patch_w)
    return upsample_scores(maps, padded_size, (image.shape[2], image.shape[3]), size)
