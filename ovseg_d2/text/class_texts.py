"""`ClassTexts`: the text embeddings of K classes, with their background and seen classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ovseg_d2.ops import max_over_words

__all__ = ["ClassTexts"]


@dataclass(frozen=True, eq=False)
class ClassTexts:
    """R rows of text embeddings for K classes; a class has one row, or one for each synonym.

    Attributes:
        embeds: (R, D) unit norm.
        class_ids: (R,) int64, the class of each row; None if row k is class k.
        background_ids: the classes that mean background, of 0..K-1.
        seen: (K,) bool, the classes that a proposal model was trained on; None if unused.
        thresholds: (K,) probabilities that a class must reach at its pixels, NaN for classes
            without a threshold of their own; None if no class has one.
        num_classes: K.

    Raises:
        ValueError: embeddings that are not (R, D) with R > 0, or class ids, ``seen`` or
            ``thresholds`` of another length.
    """

    embeds: Tensor
    class_ids: Tensor | None = None
    background_ids: tuple[int, ...] = ()
    seen: Tensor | None = None
    thresholds: Tensor | None = None
    num_classes: int = field(init=False)

    def __post_init__(self) -> None:
        """Check the shapes and count the classes."""
        if self.embeds.dim() != 2 or not len(self.embeds):
            raise ValueError(
                f"embeds have shape {tuple(self.embeds.shape)}; give (R, D), at least one row, "
                "from a TextBank"
            )
        num_rows = len(self.embeds)
        if self.class_ids is not None and tuple(self.class_ids.shape) != (num_rows,):
            raise ValueError(
                f"class_ids have shape {tuple(self.class_ids.shape)} for {num_rows} rows of "
                "embeds; give the class of each row, (R,) int64"
            )
        num_classes = num_rows if self.class_ids is None else _count_classes(self.class_ids)
        if self.seen is not None and tuple(self.seen.shape) != (num_classes,):
            raise ValueError(
                f"seen has shape {tuple(self.seen.shape)} for {num_classes} classes; give (K,) bool"
            )
        if self.thresholds is not None and tuple(self.thresholds.shape) != (num_classes,):
            raise ValueError(
                f"thresholds have shape {tuple(self.thresholds.shape)} for {num_classes} classes; "
                "give (K,), NaN for classes without one"
            )
        object.__setattr__(self, "num_classes", num_classes)
        object.__setattr__(self, "background_ids", tuple(self.background_ids))

    @property
    def background_rows(self) -> list[int]:
        """Rows of the background classes."""
        if self.class_ids is None:
            return list(self.background_ids)
        ids = enumerate(self.class_ids.tolist())
        return [row for row, class_id in ids if class_id in self.background_ids]

    def best_of_words(self, scores: Tensor, dim: int = -3) -> Tensor:
        """Reduce scores of rows to scores of classes: the best row of each class.

        Args:
            scores: floating, of size R along ``dim``.
            dim: the dimension of the rows.

        Returns:
            The same with size K along ``dim``; ``scores`` themselves if rows are classes.
        """
        if self.class_ids is None:
            return scores
        return max_over_words(scores, self.class_ids.to(scores.device), self.num_classes, dim)

    def check_dim(self, embed_dim: int) -> None:
        """Refuse embeddings whose D is not ``embed_dim`` with a ValueError."""
        if self.embeds.shape[1] != embed_dim:
            raise ValueError(
                f"embeds have shape {tuple(self.embeds.shape)}, and the joint embedding has D = "
                f"{embed_dim}; give (R, {embed_dim}) from a TextBank on the same CLIP"
            )

    def select(self, class_ids: Sequence[int]) -> ClassTexts:
        """Keep the classes ``class_ids``, renumbered in this order.

        Raises:
            ValueError: a class has several rows.
        """
        if self.class_ids is not None:
            raise ValueError("classes have several rows; select needs one row a class")
        new_ids = {class_id: index for index, class_id in enumerate(class_ids)}
        kept = torch.tensor(list(class_ids), device=self.embeds.device)
        return replace(
            self,
            embeds=self.embeds[kept],
            background_ids=tuple(new_ids[i] for i in self.background_ids if i in new_ids),
            seen=None if self.seen is None else self.seen[kept.to(self.seen.device)],
            thresholds=(
                None
                if self.thresholds is None
                else self.thresholds[kept.to(self.thresholds.device)]
            ),
        )


def _count_classes(class_ids: Tensor) -> int:
    ids = class_ids.unique().tolist()
    if ids != list(range(len(ids))):
        raise ValueError(
            f"class_ids hold the classes {ids[:5]}{'...' if len(ids) > 5 else ''}, "
            f"{len(ids)} in all; each of 0..{max(ids)} must occur, and no other"
        )
    return len(ids)
