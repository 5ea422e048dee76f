"""What a tower's last block does when dense features are wanted.

CLIP's last attention layer gathers the picture into one token and blurs what stands where. Every
training-free dense method replaces it; they differ in three choices, which `LastBlock` names.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Residual = Literal["own", "class_token", "none"]
Attention = Literal["value", "full", "qq", "kk", "qq+kk", "neighbourhood_kk"]


@dataclass(frozen=True)
class LastBlock:
    """The three choices of the last block, and the published methods they spell.

    ============  ==========================================================================
    method        spelling
    ============  ==========================================================================
    CLIP          ``LastBlock(attention="full")``, the baseline of [maskclip]
    MaskCLIP      ``LastBlock()``
    PixelCLIP     ``LastBlock(residual="class_token")``
    SCLIP         ``LastBlock(attention="qq+kk")``
    ClearCLIP     ``LastBlock(residual="none", mlp=False, attention="qq")``
    NACLIP        ``LastBlock(residual="none", mlp=False, attention="neighbourhood_kk")``
    ============  ==========================================================================

    Departs: [maskclip] describes its value path without residual and MLP, and its code keeps both;
    `LastBlock()` is the code. In "qq", "kk", "qq+kk" and "neighbourhood_kk" patches attend to
    patches only; the releases keep the class token among the keys.

    This is the last block of a ViT. CLIP's ResNets end in attention pooling and know the attentions
    "value" and "full" alone; a ConvNeXt has no attention and knows the default alone.

    Attributes:
        residual: what is added to the attention's output at each location: its own token, the
            class token (the same vector everywhere), or nothing.
        mlp: whether the block's MLP, with its own residual, follows.
        attention: "value": every location keeps its own value vector, as if it attended to
            itself alone. "full": CLIP's ordinary block, class token included, nothing changed.
            "qq", "kk": softmax of query-query or key-key similarities. "qq+kk": the sum of the
            two softmaxes (rows sum to 2). "neighbourhood_kk": key-key similarities plus a
            Gaussian of the distance between the patches, before the softmax.
        neighbourhood_std: standard deviation of that Gaussian, in patches; its peak is 1.
    """

    residual: Residual = "own"
    mlp: bool = True
    attention: Attention = "value"
    neighbourhood_std: float = 5.0

    def __post_init__(self) -> None:
        """Refuse values that name no method."""
        if self.residual not in get_args(Residual):
            raise ValueError(f"residual={self.residual!r}; choose one of {get_args(Residual)}.")
        if self.attention not in get_args(Attention):
            raise ValueError(f"attention={self.attention!r}; choose one of {get_args(Attention)}.")
        if not self.neighbourhood_std > 0:
            raise ValueError(
                f"neighbourhood_std={self.neighbourhood_std}; give a positive number of patches."
            )
        if self.attention == "full" and (self.residual != "own" or not self.mlp):
            raise ValueError(
                f"attention='full' is CLIP's unchanged block, but residual={self.residual!r} and "
                f"mlp={self.mlp}; leave both at their defaults or choose another attention."
            )


def require_attention(last_block: LastBlock, known: tuple[Attention, ...], reason: str) -> None:
    """Refuse what has no meaning in a tower that is no transformer.

    Args:
        last_block: the choices.
        known: the attentions that have one.
        reason: what the tower is, for the error.

    Raises:
        ValueError: another attention, or a residual or MLP that is not at its default.
    """
    if last_block.attention in known and last_block.residual == "own" and last_block.mlp:
        return
    raise ValueError(
        f"attention={last_block.attention!r}, residual={last_block.residual!r} and "
        f"mlp={last_block.mlp} are choices of a ViT's last block, but {reason}; choose attention "
        f"from {known} and leave residual and mlp at their defaults, or take a ViT."
    )
