"""Image-text retrieval: how high an image's own captions are ranked, and a caption's own images."""

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
    Departs: texts that are equal, but for capitals and spaces, are one text, and an answer with a
    text that the image was given is right, whichever image brought it: a caption such as "grass" of
    another picture is no error. Every caption of every image is a query of its own, as usual.

    Attributes:
        cautions: what `evaluate` found that makes its numbers mean less; sentences.
    """

    def __init__(self, *, distributed: bool = True) -> None:
        """Say whether to gather over ranks."""
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Forget what was processed."""
        self._images: list[np.ndarray] = []
        self._captions: list[list[str]] = []
        self._texts: dict[str, np.ndarray] = {}
        self.cautions: list[str] = []

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep a batch.

        Args:
            inputs: not looked at.
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
            parts = comm.gather(parts[0], dst=0)
            if not comm.is_main_process():
                return None
        images = [each for part in parts for each in part[0]]
        captions = [each for part in parts for each in part[1]]
        texts = {text: embeds for part in parts for text, embeds in part[2].items()}
        rows = {text: row for row, text in enumerate(texts)}
        given = torch.zeros(len(images), len(texts), dtype=torch.bool)
        for image, own in enumerate(captions):
            given[image, [rows[text] for text in own]] = True
        image_embeds = torch.from_numpy(np.stack(images))
        text_embeds = torch.from_numpy(np.stack(list(texts.values())))
        to_text = wrong_before_right(image_embeds, text_embeds, given)
        to_image = wrong_before_right(text_embeds, image_embeds, given.t())
        queries = torch.tensor([rows[text] for own in captions for text in own])
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
                f"{', '.join(certain)}: whatever the model answers, it is 100"
            ]
        for recall in _RECALLS:
            numbers[f"image_to_text_R@{recall}"] = _share_below(to_text, recall)
        for recall in _RECALLS:
            numbers[f"text_to_image_R@{recall}"] = _share_below(to_image[queries], recall)
        numbers |= {"images": len(images), "captions": len(queries), "texts": len(texts)}
        return OrderedDict(retrieval=numbers)


def wrong_before_right(queries: Tensor, gallery: Tensor, right: Tensor) -> Tensor:
    """Count, for each query, the wrong answers that come before its best right one.

    Args:
        queries: (N, D) unit norm.
        gallery: (M, D) unit norm.
        right: (N, M) bool, at least one of each row.

    Returns:
        (N,) long; of equal scores the wrong one comes first. R@k is the share below k.
    """
    counts = []
    for start in range(0, len(queries), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = queries[rows] @ gallery.t()
        best = scores.masked_fill(~right[rows], -torch.inf).amax(dim=1, keepdim=True)
        # What is no number is below nothing: vectors of a model that broke find nothing, either.
        counts.append((~(scores < best) & ~right[rows]).sum(dim=1))
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.long)


def _share_below(counts: Tensor, recall: int) -> float:
    return 100 * (counts < recall).double().mean().item()
