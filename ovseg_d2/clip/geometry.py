"""The sizes of an image tower, whatever its kind."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TowerGeometry:
    """What an image tower measures; sizes are (h, w).

    Attributes:
        patch_size: pixels of one location of the dense features: a ViT's patch, the stride of a
            tower of convolutions.
        image_size: pixels the tower was trained at.
        grid: locations at that size.
        width: channels of the dense features before they are projected.
        embed_dim: D, the size of the joint embedding.
    """

    patch_size: tuple[int, int]
    image_size: tuple[int, int]
    grid: tuple[int, int]
    width: int
    embed_dim: int
