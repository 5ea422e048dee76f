"""OVSeg: masks that somebody proposes, named by their maker and by CLIP.

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

# What the demo mode calls all that none of the asked words is.
OTHERS = "others"


def with_others(words: Sequence[str]) -> list[str]:
    """The words with "others" behind them, for `OVSeg` in demo mode; once, if they have it."""
    return [*words] if OTHERS in words else [*words, OTHERS]


class OVSeg(PixelScorer):
    """Masks, each with the class probabilities p^(1 - lambda) q^lambda, summed at every pixel.

    p is what the masks' maker says, q what CLIP says of their crops. Makers without classes (SAM,
    the truth) leave the naming to q. What each row of the paper's table of oracles needs:

    =========================================  =================================================
    the truth's masks, named by CLIP           ``score_masks`` of ``truth_proposals(...)``
    proposals, named by the truth              ``lam=0``, of ``oracle_proposals(...)``
    =========================================  =================================================

    Paper: [ovseg] Sec. 3.1, Eq. (2), fused as in [maskformer].
    Departs: an image without any valid mask has p^(1 - lambda) alone, where the release fails.

    Args:
        source: makes the masks; None where `score_masks` is given them.
        classifier: CLIP's opinion; None where ``lam`` is 0 for all classes.
        lam: lambda in [0, 1]: 0 is p alone, 1 is q alone.
        unseen_lam: lambda of the classes that the source was not trained on; None: the same.
        demo: for one or a few words: q alone, binary masks, and for each class only the mask that
            it fits best. Pixels outside of them are the last class: see `with_others`.
        official: the release's reading of ``lam=0``: q alone.
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
        """Keep the parts.

        Raises:
            ValueError: a lambda outside [0, 1], or no classifier where one is needed.
        """
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
        if classifier is None and (self._asks_clip or demo):
            raise ValueError(
                f"lam={lam}, unseen_lam={unseen_lam}, demo={demo} ask for CLIP's opinion, and "
                "classifier is None; give one, or lam=0"
            )

    @torch.no_grad()
    def score_masks(
        self, image: Tensor, proposals: MaskProposals, texts: ClassTexts, size: Size | None = None
    ) -> Tensor:
        """Score the pixels of one image with given masks in place of the source's.

        Args:
            image: (3, H, W) RGB in 0..255.
            proposals: masks of the image's size.
            texts: as for `score_pixels`.
            size: (h, w) of the scores; None is the image's own size.

        Returns:
            (K, h, w) float32.

        Raises:
            ValueError: as `name_masks`.
            ImageTooLargeError: memory does not suffice for the scores.
        """
        need_score_memory(image, size, texts.num_classes)
        with evaluating(self):
            return torch.cat(list(self._fuse(image, proposals, texts, size)), dim=1)

    @torch.no_grad()
    def segment_masks(
        self, image: Tensor, proposals: MaskProposals, texts: ClassTexts, size: Size | None = None
    ) -> Tensor:
        """Label the pixels of one image with given masks: (h, w) int64; see `score_masks`."""
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
        """Score one image at several lambdas; its masks are named once.

        Args:
            image: (3, H, W) RGB in 0..255.
            proposals: its masks, of the image's size, with classes.
            texts: as for `score_pixels`.
            lams: each in [0, 1], for all classes alike, in place of the system's own; without the
                demo mode.
            size: (h, w) of the scores; None is the image's own size.

        Yields:
            (K, h, w) float32 for each lambda.

        Raises:
            ValueError: a lambda outside [0, 1], no classifier, or proposals without classes, of
                which no lambda makes a difference.
        """
        with evaluating(self):
            if proposals.probs is None or self.classifier is None:
                raise ValueError(
                    "a sweep over lambda weighs two opinions, and there is one; give proposals "
                    "with classes, and a classifier"
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
        """Give the masks of one image their final class probabilities.

        Args:
            image: (3, H, W) RGB in 0..255.
            proposals: its masks, of the image's size.
            texts: as for `score_pixels`; ``unseen_lam`` needs their ``seen``.

        Returns:
            (Q, K) float32, rows not normalised: p^(1 - lambda) q^lambda; q, and zeros where a
            mask is empty, where the proposals know no classes.

        Raises:
            ValueError: texts or masks that do not fit, proposals without classes and no
                classifier, or ``unseen_lam`` without ``seen``.
        """
        p = proposals.probs
        if p is not None and not self._asks_clip and not self.demo:
            return p.float()
        if self.classifier is None:
            raise ValueError(
                "these proposals know no classes, and classifier is None; give a classifier"
            )
        clip = self.classifier(image, proposals.masks, texts)
        if p is None or self.demo:
            return clip.probs
        return lambda_ensemble(
            p.float(), clip.probs, clip.valid, self._lambdas(texts, p), official=self.official
        )

    @property
    def _asks_clip(self) -> bool:
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
            raise ValueError("there is no source of masks; give one, or call score_masks")
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
        """For each class the mask that it fits best, and one that is the last class, the rest."""
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
    """(Q, H, W) at another size, for a resized sum is the sum of resized masks."""
    if size is None or tuple(size) == tuple(masks.shape[1:]):
        return masks
    if len(masks) == 0:
        return masks.new_zeros(0, *size)
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
