"""Sizes of an image tower."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TowerGeometry:
    """Sizes of an image tower, as (h, w).

    Attributes:
        patch_size: pixels of one location of the dense features: a ViT's patch, or the stride of
            a convolutional tower.
        image_size: pixels of the images the tower was trained on.
        grid: locations at ``image_size``.
        width: channels of the dense features before projection.
        embed_dim: D, the size of the joint embedding.
    """

    patch_size: tuple[int, int]
    image_size: tuple[int, int]
    grid: tuple[int, int]
    width: int
    embed_dim: int
