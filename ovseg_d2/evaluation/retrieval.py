"""Image-text retrieval: ranks of an image's captions, and of a caption's images."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm

__all__ = ["RetrievalEvaluator", "wrong_before_right"]

_RECALLS = (1, 5, 10)
_ROWS = 512  # queries that are compared at once


class RetrievalEvaluator(DatasetEvaluator):
    """R@1, R@5 and R@10 in percent, from images to texts and from texts to images.

    Paper: [clip] Sec. 3.1 and appendix, zero-shot retrieval.
    Departs: texts that are equal except for capitals and spaces are one text, which is right for
    every image that has it as a caption: the caption "grass" of another image is no error. Every
    caption of every image is a query, as usual.

    Attributes:
        cautions: sentences on limits of the numbers, from `evaluate`.
    """

    def __init__(self, *, distributed: bool = True) -> None:
        """Start empty; ``distributed`` gathers over ranks."""
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Drop all embeddings."""
        self._images: list[np.ndarray] = []
        self._captions: list[list[str]] = []
        self._texts: dict[str, np.ndarray] = {}
        self.cautions: list[str] = []

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep the embeddings of a batch.

        Args:
            inputs: not used.
            outputs: dicts with ``image_embeds`` (D,), ``captions`` (M texts) and ``text_embeds``
                (M, D), all of unit norm.
        """
        del inputs
        for output in outputs:
            captions = [" ".join(text.split()).casefold() for text in output["captions"]]
            self._images.append(output["image_embeds"].float().cpu().numpy())
            self._captions.append(captions)
            self._texts.update(
                zip(captions, output["text_embeds"].float().cpu().numpy(), strict=True)
            )

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and rank.

        Returns:
            ``{"retrieval": numbers}`` on rank 0, None elsewhere.
        """
        parts = [(self._images, self._captions, self._texts)]
        if self._distributed:
            parts = comm.gather(parts[0])
            if not comm.is_main_process():
                return None
        images = [embeds for part in parts for embeds in part[0]]
        captions = [of_image for part in parts for of_image in part[1]]
        texts = {text: embeds for part in parts for text, embeds in part[2].items()}
        rows = {text: row for row, text in enumerate(texts)}
        right = torch.zeros(len(images), len(texts), dtype=torch.bool)
        for image, of_image in enumerate(captions):
            right[image, [rows[text] for text in of_image]] = True
        image_embeds = torch.from_numpy(np.stack(images))
        text_embeds = torch.from_numpy(np.stack(list(texts.values())))
        to_text = wrong_before_right(image_embeds, text_embeds, right)
        to_image = wrong_before_right(text_embeds, image_embeds, right.t())
        queries = torch.tensor([rows[text] for of_image in captions for text in of_image])
        numbers: dict[str, Any] = {}
        certain = [
            f"{what}_R@{recall}"
            for what, count in (("image_to_text", len(texts)), ("text_to_image", len(images)))
            for recall in _RECALLS
            if count <= recall
        ]
        if certain:
            self.cautions = [
                f"{len(images)} images with {len(texts)} texts are too few for "
                f"{', '.join(certain)}, which are 100 for every model"
            ]
        for recall in _RECALLS:
            numbers[f"image_to_text_R@{recall}"] = _share_below(to_text, recall)
        for recall in _RECALLS:
            numbers[f"text_to_image_R@{recall}"] = _share_below(to_image[queries], recall)
        numbers |= {"images": len(images), "captions": len(queries), "texts": len(texts)}
        return OrderedDict(retrieval=numbers)


def wrong_before_right(queries: Tensor, gallery: Tensor, right: Tensor) -> Tensor:
    """Count, for each query, the wrong results that rank above its best right one.

    Args:
        queries: (N, D) unit norm.
        gallery: (M, D) unit norm.
        right: (N, M) bool, with at least one True in each row.

    Returns:
        (N,) long; of equal scores the wrong one ranks first. R@k is the share of counts below k.
    """
    counts = []
    for start in range(0, len(queries), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = queries[rows] @ gallery.t()
        best = scores.masked_fill(~right[rows], -torch.inf).amax(dim=1, keepdim=True)
        # NaN counts as above the best right score, so that NaN embeddings find nothing.
        counts.append((~(scores < best) & ~right[rows]).sum(dim=1))
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.long)


def _share_below(counts: Tensor, recall: int) -> float:
    return 100 * (counts < recall).double().mean().item()
