"""Options of last blocks in which locations attend by features from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Affinity:
    """Options of the attention "affinity", see `ovseg_d2.ops.mix_by_affinity`.

    Attributes:
        mean_weight: factor of the mean cosine, which is subtracted; 1.2 in [proxyclip].
        scale: factor of the differences before the softmax; 3 in [proxyclip].
        block: number of the tower's block whose output is compared, 1 for the first; 0 compares the
            features of another network, the ``guide`` of `CLIPTower.dense_feats`.
    """

    mean_weight: float = 1.2
    scale: float = 3.0
    block: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        if not (self.mean_weight >= 0 and self.scale > 0 and self.block >= 0):
            raise ValueError(
                f"mean_weight={self.mean_weight}, scale={self.scale}, block={self.block}; give a "
                "factor of at least 0, a positive one, and the number of a block or 0"
            )


@dataclass(frozen=True)
class Calibration:
    """Options of the attention "self_calibrated" of [scclip]; defaults are those for 12 blocks.

    Attributes:
        outlier_share: of the locations that take the mean of their neighbours before the last
            block; 0 replaces none.
        outlier_neighbours: points that an outlier is compared with.
        affinity_block: number of the block whose output gives the affinity of the attention, and
            mixes tokens before it.
        mixing_block: number of the block whose output mixes the attention's result; 0 leaves it.
        threshold: smallest cosine that counts in both mixings.
        first_level: number of the first block of a second pass, over the sum of the outputs of some
            blocks; 0 leaves the second pass out.
        last_level: number of the last of these blocks.
        class_share: factor of the class token that is added to the attention's result.
    """

    outlier_share: float = 0.05
    outlier_neighbours: int = 30
    affinity_block: int = 9
    mixing_block: int = 4
    threshold: float = 0.4
    first_level: int = 4
    last_level: int = 10
    class_share: float = 0.3

    def __post_init__(self) -> None:
        """Check the values that no other function checks."""
        if self.affinity_block < 1 or self.mixing_block < 0:
            raise ValueError(
                f"affinity_block={self.affinity_block}, mixing_block={self.mixing_block}; give the "
                "number of a block, and for mixing_block that or 0"
            )
        if self.first_level < 0 or (self.first_level and self.last_level < self.first_level):
            raise ValueError(
                f"first_level={self.first_level}, last_level={self.last_level}; give the numbers "
                "of a first and a later block, or 0 for first_level"
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks whose outputs are read."""
        levels = range(self.first_level, self.last_level + 1) if self.first_level else ()
        mixing = (self.mixing_block,) if self.mixing_block else ()
        return (self.affinity_block, *mixing, *levels)
