"""The last block of a tower for dense features.

CLIP's last attention layer pools the image into one token and blurs local features. Training-free
dense methods replace it; they differ in three choices, which `LastBlock` names.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from .affinity import Affinity, Calibration

Residual = Literal["own", "class_token", "none"]
Attention = Literal[
    "value", "full", "qq", "kk", "qq+kk", "neighbourhood_kk", "affinity", "self_calibrated"
]


@dataclass(frozen=True)
class LastBlock:
    """Options of the last block; published methods are combinations of them.

    ============  ==========================================================================
    method        options
    ============  ==========================================================================
    CLIP          ``LastBlock(attention="full")``, the baseline of [maskclip]
    MaskCLIP      ``LastBlock()``
    PixelCLIP     ``LastBlock(residual="class_token")``
    SCLIP         ``LastBlock(attention="qq+kk")``
    ClearCLIP     ``LastBlock(residual="none", mlp=False, attention="qq")``
    NACLIP        ``LastBlock(residual="none", mlp=False, attention="neighbourhood_kk")``
    ProxyCLIP     ``LastBlock(residual="none", mlp=False, attention="affinity")``
    SC-CLIP       ``LastBlock(residual="none", mlp=False, attention="self_calibrated")``
    ============  ==========================================================================

    Departs: [maskclip] describes its value path without residual and MLP, and its code keeps both;
    `LastBlock()` is the code. In "qq", "kk", "qq+kk" and "neighbourhood_kk" patches attend to
    patches only; the releases keep the class token among the keys, as `official` features do.

    These are options of a ViT, open_clip's or timm's; "self_calibrated" is of open_clip's alone.
    SigLIP's and ViTamin's have no class token. CLIP's ResNets end in attention pooling and take
    only the attentions "value" and "full"; a ConvNeXt and a FastViT end without attention and take
    only the default.

    Attributes:
        residual: added to the attention's output at each location: "own", the location's token;
            "class_token", the same vector everywhere; or "none".
        mlp: whether the block's MLP, with its residual, follows.
        attention: "value": each location keeps its value vector. "full": CLIP's unchanged block,
            class token included. "qq", "kk": softmax of query-query or key-key similarities.
            "qq+kk": the sum of the two softmaxes (rows sum to 2). "neighbourhood_kk": key-key
            similarities plus a Gaussian of the distance between patches, before the softmax.
            "affinity": values mix by the cosines of features of another network or of an earlier
            block, on the grid of these features. "self_calibrated": the whole of [scclip], which
            has neither residual nor MLP.
        neighbourhood_std: standard deviation of this Gaussian, in patches; its peak is 1.
        affinity: options of "affinity".
        calibration: options of "self_calibrated".
    """

    residual: Residual = "own"
    mlp: bool = True
    attention: Attention = "value"
    neighbourhood_std: float = 5.0
    affinity: Affinity = field(default_factory=Affinity)
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def needs_guide(self) -> bool:
        """Whether patches are compared by the features of another network."""
        return self.attention == "affinity" and not self.affinity.block

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the earlier blocks whose outputs are read, the first is 1."""
        if self.attention == "self_calibrated":
            return self.calibration.blocks
        if self.attention == "affinity" and self.affinity.block:
            return (self.affinity.block,)
        return ()

    def blocks_before(self, count: int) -> set[int]:
        """Return `blocks`, for a tower that has ``count`` blocks before its last.

        Raises:
            ValueError: the tower has fewer blocks.
        """
        if self.blocks and max(self.blocks) > count:
            raise ValueError(
                f"attention={self.attention!r} reads the output of block {max(self.blocks)}, and "
                f"this tower has {count} before its last; name earlier blocks"
            )
        return set(self.blocks)

    @property
    def correlates(self) -> bool:
        """Whether patches attend by similar queries or keys, as in [sclip] and its successors."""
        return self.attention not in ("value", "full")

    def __post_init__(self) -> None:
        """Check the values and their combination."""
        if self.residual not in get_args(Residual):
            raise ValueError(f"residual={self.residual!r}; choose one of {get_args(Residual)}.")
        if self.attention not in get_args(Attention):
            raise ValueError(f"attention={self.attention!r}; choose one of {get_args(Attention)}.")
        if not self.neighbourhood_std > 0:
            raise ValueError(
                f"neighbourhood_std={self.neighbourhood_std}; give a positive number of patches."
            )
        if self.attention == "self_calibrated" and (self.residual != "none" or self.mlp):
            raise ValueError(
                f"attention='self_calibrated' has no residual and no MLP, but residual="
                f"{self.residual!r} and mlp={self.mlp}; set them to 'none' and False, or choose "
                "another attention."
            )
        if self.attention == "full" and (self.residual != "own" or not self.mlp):
            raise ValueError(
                f"attention='full' is CLIP's unchanged block, but residual={self.residual!r} and "
                f"mlp={self.mlp}; leave both at their defaults or choose another attention."
            )


def require_attention(last_block: LastBlock, known: tuple[Attention, ...], reason: str) -> None:
    """Refuse options that a tower other than a ViT does not have.

    Args:
        last_block: the options.
        known: the attentions of the tower.
        reason: clause about the tower, for the error.

    Raises:
        ValueError: another attention, or a residual or MLP that is not the default.
    """
    if last_block.attention in known and last_block.residual == "own" and last_block.mlp:
        return
    raise ValueError(
        f"attention={last_block.attention!r}, residual={last_block.residual!r} and "
        f"mlp={last_block.mlp} are options of a ViT's last block, but {reason}; choose attention "
        f"from {known} and leave residual and mlp at their defaults, or choose a ViT."
    )
