"""Estimated bytes of an image tower for the dense features of one image.

Only the fastest growing part is counted: a ViT's attention weights, heads x N x N for N patches, or
the first feature maps of convolutions. Numbers count four bytes at every precision, so that an
image gets the same windows at every precision.
"""

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from ovseg_d2.image_errors import need_memory

# Maps of the first stage's size that exist at the same time: a ConvNeXt's hidden layers have four
# times its channels.
_MAPS_AT_ONCE = 12


def attention_bytes(num_heads: int, num_tokens: int, num_images: int = 1) -> int:
    """Bytes of the attention weights of ``num_images`` images in float32."""
    return 4 * num_images * num_heads * num_tokens**2


def need_attention_memory(tokens: Tensor, num_heads: int) -> None:
    """Check that memory suffices for the attention weights of tokens (B, N, C), without gradients.

    Raises:
        ImageTooLargeError: it does not.
    """
    if torch.is_grad_enabled():
        return
    needed = attention_bytes(num_heads, tokens.shape[1], tokens.shape[0])
    need_memory(
        needed * tokens.element_size() // 4,
        tokens.device,
        f"the attention weights of {tokens.shape[1]} patches",
    )


def vit_heads(visual: VisionTransformer) -> int:
    """Heads of a ViT's attention; 1 for blocks of unknown classes."""
    attn = getattr(visual.transformer.resblocks[0], "attn", None)
    return int(getattr(attn, "num_heads", 1))


def vit_bytes(visual: VisionTransformer, size: tuple[int, int]) -> int:
    """Bytes of one block's attention weights for an image of (H, W) pixels."""
    patch_h, patch_w = visual.patch_size
    num_tokens = 1 + -(-size[0] // patch_h) * -(-size[1] // patch_w)
    return attention_bytes(vit_heads(visual), num_tokens)


def convolution_bytes(first_map: tuple[int, int], size: tuple[int, int]) -> int:
    """Bytes of the first feature maps for an image of (H, W) pixels.

    Args:
        first_map: channels and stride of the tower's first stage.
        size: (H, W) of the image.
    """
    channels, stride = first_map
    return _MAPS_AT_ONCE * 4 * channels * size[0] * size[1] // stride**2
