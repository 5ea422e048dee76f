"""OVSeg: mask proposals classified by the proposal model and by CLIP.

image -> source -> Q masks with class probabilities p -> crops -> `OVSegClassifier` -> q
-> p^(1 - lambda) q^lambda -> sums over masks, in bands of rows -> scores or labels.

Source: [ovseg] arXiv 2210.04150.

Shape shorthand: Q masks, K classes, R rows of text, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops import (
    binarize_masks,
    class_lambdas,
    fused_bands,
    lambda_ensemble,
    merge_background,
)
from ovseg_d2.text import ClassTexts

from .ovseg_classifier import OVSegClassifier
from .ovseg_proposals import MaskProposals, ProposalSource
from .pixel_scorer import PixelScorer, evaluating, need_score_memory

__all__ = ["OTHERS", "OVSeg", "with_others"]

Size = tuple[int, int]

# The class of the demo mode for pixels outside of all chosen masks.
OTHERS = "others"


def with_others(words: Sequence[str]) -> list[str]:
    """The words with "others" appended if missing, for `OVSeg` in demo mode."""
    return [*words] if OTHERS in words else [*words, OTHERS]


class OVSeg(PixelScorer):
    """Sum the class probabilities p^(1 - lambda) q^lambda of masks at every pixel.

    p are the proposal model's class probabilities, q those of CLIP for the crops. Proposals without
    classes (SAM, the ground truth) have q alone. The rows of the paper's table of oracles:

    =========================================  =================================================
    ground-truth masks, classified by CLIP     ``score_masks`` of ``truth_proposals(...)``
    proposals, classified by the ground truth  ``lam=0``, of ``oracle_proposals(...)``
    =========================================  =================================================

    Paper: [ovseg] Sec. 3.1, Eq. (2), fused as in [maskformer].
    Departs: an image without any valid mask has p^(1 - lambda) alone, where the release fails.

    Args:
        source: proposes masks; None if each call brings its masks, see `score_masks`.
        classifier: computes q; None if ``lam`` is 0 for all classes.
        lam: lambda in [0, 1]: 0 is p alone, 1 is q alone.
        unseen_lam: lambda of the classes that the source was not trained on; None is ``lam``.
        demo: for few words: q alone, binary masks, and only the best mask of each class. Pixels
            outside of them are the last class, see `with_others`.
        official: ``lam=0`` means q alone, as in the release.
    """

    def __init__(
        self,
        source: ProposalSource | None,
        classifier: OVSegClassifier | None,
        *,
        lam: float = 0.7,
        unseen_lam: float | None = None,
        demo: bool = False,
        official: bool = False,
    ) -> None:
        """Refuse a lambda outside [0, 1] or a missing classifier with a ValueError."""
        super().__init__()
        for name, value in (("lam", lam), ("unseen_lam", unseen_lam)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"{name}={value} is outside [0, 1]; 0 are the proposals alone, 1 is CLIP alone"
                )
        self.source = source
        self.classifier = classifier
        self.lam = lam
        self.unseen_lam = unseen_lam
        self.demo = demo
        self.official = official
        if classifier is None and (self._uses_clip or demo):
            raise ValueError(
                f"lam={lam}, unseen_lam={unseen_lam}, demo={demo} need CLIP's probabilities, and "
                "classifier is None; give one, or lam=0"
            )

    @torch.no_grad()
    def score_masks(
        self, image: Tensor, proposals: MaskProposals, texts: ClassTexts, size: Size | None = None
    ) -> Tensor:
        """Score the pixels of one image with given masks instead of the source's.

        Args:
            image: (3, H, W) RGB in 0..255.
            proposals: masks of the image's size.
            texts: embeddings of the K classes.
            size: (h, w) of the scores; None is the image's size.

        Returns:
            (K, h, w) float32.

        Raises:
            ValueError: see `name_masks`.
            ImageTooLargeError: memory does not suffice for the scores.
        """
        need_score_memory(image, size, texts.num_classes)
        with evaluating(self):
            return torch.cat(list(self._fuse(image, proposals, texts, size)), dim=1)

    @torch.no_grad()
    def segment_masks(
        self, image: Tensor, proposals: MaskProposals, texts: ClassTexts, size: Size | None = None
    ) -> Tensor:
        """Label the pixels of one image with given masks: (h, w) int64, see `score_masks`."""
        with evaluating(self):
            bands = self._fuse(image, proposals, texts, size)
            return torch.cat([band.argmax(dim=0) for band in bands])

    @torch.no_grad()
    def sweep(
        self,
        image: Tensor,
        proposals: MaskProposals,
        texts: ClassTexts,
        lams: Sequence[float],
        size: Size | None = None,
    ) -> Iterator[Tensor]:
        """Score one image at several lambdas; its masks are classified once.

        Arguments are those of `score_masks`, for proposals with classes; ``lams`` in [0, 1]
        replace ``lam`` for all classes. The demo mode is off.

        Yields:
            (K, h, w) float32 for each lambda.

        Raises:
            ValueError: a lambda outside [0, 1], no classifier, or proposals without classes.
        """
        with evaluating(self):
            if proposals.probs is None or self.classifier is None:
                raise ValueError(
                    "a sweep over lambda needs the probabilities of proposals and of CLIP; give "
                    "proposals with classes, and a classifier"
                )
            p = proposals.probs.float()
            clip = self.classifier(image, proposals.masks, texts)
        masks = _resize(proposals.masks.float(), size)
        for lam in lams:
            probs = lambda_ensemble(p, clip.probs, clip.valid, lam, official=self.official)
            bands = fused_bands(probs, masks)
            yield torch.cat([merge_background(band, texts.background_ids) for band in bands], dim=1)

    @torch.no_grad()
    def name_masks(self, image: Tensor, proposals: MaskProposals, texts: ClassTexts) -> Tensor:
        """Final class probabilities of one image's masks; arguments are those of `score_masks`.

        Returns:
            (Q, K) float32, rows not normalised: p^(1 - lambda) q^lambda; for proposals without
            classes q, which is 0 for empty masks.

        Raises:
            ValueError: texts or masks that do not fit, proposals without classes and no
                classifier, or ``unseen_lam`` without ``seen``.
        """
        p = proposals.probs
        if p is not None and not self._uses_clip and not self.demo:
            return p.float()
        if self.classifier is None:
            raise ValueError(
                "these proposals have no classes, and classifier is None; give a classifier"
            )
        clip = self.classifier(image, proposals.masks, texts)
        if p is None or self.demo:
            return clip.probs
        return lambda_ensemble(
            p.float(), clip.probs, clip.valid, self._lambdas(texts, p), official=self.official
        )

    @property
    def _uses_clip(self) -> bool:
        return self.lam > 0 or bool(self.unseen_lam) or self.official

    def _lambdas(self, texts: ClassTexts, p: Tensor) -> float | Tensor:
        if self.unseen_lam is None:
            return self.lam
        if texts.seen is None:
            raise ValueError(
                "unseen_lam needs to know which classes are seen; give texts with seen, (K,) bool, "
                "or leave unseen_lam None"
            )
        return class_lambdas(texts.seen.to(p.device), self.lam, self.unseen_lam)

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        if self.source is None:
            raise ValueError("source is None; give a source of masks, or call score_masks")
        yield from self._fuse(image, self.source(image, texts), texts, out_size)

    def _fuse(
        self, image: Tensor, proposals: MaskProposals, texts: ClassTexts, out_size: Size | None
    ) -> Iterator[Tensor]:
        """Yield the final scores of one image with its masks, from the top band down."""
        probs, masks = self.name_masks(image, proposals, texts), proposals.masks
        if self.demo:
            probs, masks = self._best_masks(probs, masks)
        for band in fused_bands(probs, _resize(masks.float(), out_size)):
            yield merge_background(band, texts.background_ids)

    def _best_masks(self, probs: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The best mask of each class, and all other pixels as a mask of the last class."""
        assert self.classifier is not None
        binary = binarize_masks(masks, self.classifier.crop.threshold)
        if len(probs):
            best = probs.argmax(dim=0).unique()
            probs, binary = probs[best], binary[best]
        rest = ~binary.any(dim=0, keepdim=True)
        last = probs.new_zeros(1, probs.shape[1])
        last[:, -1] = 1
        return torch.cat([probs, last]), torch.cat([binary, rest])


def _resize(masks: Tensor, size: Size | None) -> Tensor:
    """(Q, *size) masks; the sum of resized masks is the resized sum."""
    if size is None or tuple(size) == tuple(masks.shape[1:]):
        return masks
    if len(masks) == 0:
        return masks.new_zeros(0, *size)
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
