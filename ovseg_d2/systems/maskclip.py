"""MaskCLIP: open-vocabulary segmentation with a frozen CLIP, without training.

image -> windows -> `CLIPTower.dense_feats` (last attention bypassed) -> cosines with the texts
-> `spread_scores`, `refine_scores` (optional) -> pixels, in bands of rows -> `refine_edges`
(optional) -> softmax and best word of each class (where needed) -> `find_background` (optional)
-> scores or labels.

Source: [maskclip] arXiv 2112.01071; the other paper of that name is `MaskedDistillCLIP`. [sclip],
[clearclip], [naclip], [proxyclip], [scclip] and [lposs] differ from it only in the `LastBlock`, the
windows, the background, and a second network or `Spreading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.ops import (
    Background,
    GuidedUpsampling,
    PixelRefinement,
    Refinement,
    find_background,
    merge_background,
    refine_scores,
    reflected_crop,
    score_bands,
    window_and_stride,
)
from ovseg_d2.text import ClassTexts

from .edges import refine_edges
from .grids import Grids, cosines, put_together
from .image_passes import check_passes, plan_passes
from .pixel_scorer import PixelScorer, evaluating
from .spreading import Spreading, check_guide, spread_scores

__all__ = ["MaskCLIP"]

Size = tuple[int, int]
Average = Literal["cosines", "probabilities"]


class MaskCLIP(PixelScorer):
    """Dense CLIP features compared with text embeddings, location by location.

    With the last attention bypassed, each location's value embedding v_ij lies in the joint space
    of image and text, and the text embeddings t_k are a 1x1 convolution over it:
    s_kij = cos(v_ij, t_k). `forward` computes this and is differentiable; `score_pixels` and
    `segment` add windows, refinement and background, and go to pixels. Scores of pixels are
    cosines; probabilities if a class has several rows or a background is configured; smoothed
    scores, see `smooth_by_keys`, with key smoothing.

    Departs: the official code spreads the patch grid over the unpadded image; here it covers the
    padded one, as it did in the tower. They are the same where the image is whole patches. It also
    runs with ImageNet's pixel statistics, the exact GELU and a LayerNorm epsilon of 1e-6; here
    all three are the tower's, which CLIP was trained with.

    Args:
        tower: a CLIP tower; its weights and gradient flags are left unchanged.
        last_block: changes to the tower's last block; None is the default `LastBlock`.
        refine: denoising and smoothing of the scores; None does neither.
        guided: gives pixels the scores of cells of their colour, a patch large, in place of
            bilinear resizing; None resizes.
        pixels: spreads scores between similar pixels, for which the scores of all rows of text are
            in memory at once; None does not.
        background: rules that turn pixels into background; None applies none.
        window: (h, w) in pixels of a sliding window, or one number for both. None takes each image
            whole; one that would need more than 4 GiB is split into windows of three times the
            size that the tower was trained at, with a warning. Refinement sees all windows of an
            image together.
        stride: (h, w) in pixels from window to window, or one number; None is half the window.
        shifts: n; `score_pixels`, `segment` and `heat_maps` take the mean of n x n passes, each
            over the image moved by other multiples of 1/n of a patch, with its reflection at the
            borders. An image needs n x n times the time, and its grids of scores as much more
            memory.
        average: what is spread between patches, and averaged over windows and passes: "cosines",
            or "probabilities", the softmax of the scaled cosines over all rows of text at each
            patch. Scores of pixels are then these; smoothed scores stay what they are.
        logit_scale: factor of the cosines before any softmax; None is the tower's. [sclip] has 40,
            and 50 or 65 with a background.
        independent: whether the scores of pixels are probabilities of every word by itself,
            sigmoid(scale * cosine + `CLIPTower.logit_bias`), as SigLIP is trained: words may
            overlap, and where all are improbable none fits. Else words compete in a softmax.
        official: geometry, refinement and keys of the release of the last block's method, where
            they differ from the paper or from CLIP; see `denoise_prompts`, `smooth_by_keys`,
            `CLIPTower.dense_feats` and `CLIPTower.dense_feats_and_keys`.
            With full attention the release has no keys, and nothing is smoothed.
        guide: maps images (B, 3, H, W), RGB in 0..255, to features (B, C, h, w) of another network
            on a grid over the whole image, for a last block that compares them; scores are then on
            this grid, as with propagation. See `ovseg_d2.masks.PatchFeatures`.
        spreading: mixes features, or spreads scores, between similar locations of all windows; None
            does neither.
    """

    def __init__(
        self,
        tower: CLIPTower,
        *,
        last_block: LastBlock | None = None,
        refine: Refinement | None = None,
        guided: GuidedUpsampling | None = None,
        pixels: PixelRefinement | None = None,
        background: Background | None = None,
        window: int | Size | None = None,
        stride: int | Size | None = None,
        shifts: int = 1,
        average: Average = "cosines",
        logit_scale: float | None = None,
        independent: bool = False,
        official: bool = False,
        guide: Callable[[Tensor], Tensor] | None = None,
        spreading: Spreading | None = None,
    ) -> None:
        """Check the options.

        Raises:
            ValueError: windows that leave gaps, a stride without a window, more shifts than a patch
                has pixels, a logit scale that is not positive, key smoothing with a tower that
                has no keys, with a guide or with spreading, a last block that needs a guide without
                one, or independent words with key smoothing or a tower without a bias.
        """
        super().__init__()
        self.tower = tower
        self.last_block = LastBlock() if last_block is None else last_block
        self.refine = Refinement() if refine is None else refine
        self.guided = guided
        self.pixels = pixels
        self.background = Background() if background is None else background
        self.window, self.stride = window_and_stride(window, stride)
        check_passes(tower, self.window, self.stride, shifts)
        self.shifts = shifts
        if average not in get_args(Average):
            raise ValueError(f"average is {average!r}; choose one of {get_args(Average)}")
        self.average = average
        if logit_scale is not None and not logit_scale > 0:
            raise ValueError(f"logit_scale is {logit_scale}; give a positive factor of cosines")
        self.logit_scale = logit_scale
        if independent:
            _check_independent(tower, self.refine)
        self.independent = independent
        self.official = official
        if self.refine.key_smoothing is not None and not tower.has_keys:
            raise ValueError(
                f"key_smoothing={self.refine.key_smoothing} needs keys, and this image tower has "
                "no attention to take them from; leave it None, or choose a ViT or a ResNet"
            )
        self.spreading = Spreading() if spreading is None else spreading
        check_guide(self.last_block, self.refine, self.spreading, has_guide=guide is not None)
        compares = self.last_block.needs_guide or self.spreading.propagation is not None
        self.guide = guide if compares else None
        if official and self.last_block.attention == "full":
            self.refine = replace(self.refine, key_smoothing=None)

    def forward(self, images: Tensor, text_embeds: Tensor) -> Tensor:
        """Score every patch for every class, without refinement; differentiable.

        Args:
            images: (B, 3, H, W) RGB in 0..255, any size.
            text_embeds: (K, D) unit norm, from a `TextBank` on the same tower.

        Returns:
            (B, K, h, w) cosines in [-1, 1], on the grid that covers the padded images; the grid is
            the guide's if there is one.

        Raises:
            ValueError: text embeddings that are not (K, D) with the tower's D.
        """
        ClassTexts(text_embeds).check_dim(self.tower.embed_dim)
        return cosines(self.dense_feats(images), text_embeds)

    def dense_feats(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W), RGB in 0..255, on the grid of `forward`: (B, D, h, w)."""
        guide = self.guide_feats(images) if self.last_block.needs_guide else None
        return self.tower.dense_feats(
            self.tower.normalize(images), self.last_block, official=self.official, guide=guide
        )

    def guide_feats(self, images: Tensor) -> Tensor | None:
        """Features (B, C, h, w) of the guide for images (B, 3, H, W); None without a guide."""
        return None if self.guide is None else self.guide(self._pad(images))

    def covered_size(self, size: Size) -> Size:
        """Pixels (h, w) that the grid of an image of a size spans: whole patches, or the image."""
        if self.official:
            return size
        patch_h, patch_w = self.tower.patch_size
        return size[0] + -size[0] % patch_h, size[1] + -size[1] % patch_w

    def _pad(self, images: Tensor) -> Tensor:
        """Pad images (B, 3, H, W) to `covered_size` with the tower's mean colour."""
        height, width = images.shape[-2:]
        rows, columns = self.covered_size((height, width))
        mean = 255 * torch.tensor(self.tower.mean, dtype=self.tower.dtype, device=images.device)
        padded = mean.view(1, 3, 1, 1).repeat(len(images), 1, rows, columns)
        padded[..., :height, :width] = images
        return padded

    @torch.no_grad()
    def score_patches(self, images: Tensor, text_embeds: Tensor) -> Tensor:
        """Score every patch for every class, with refinement and without windows or gradient.

        Arguments and errors are those of `forward`.

        Returns:
            (B, K, h, w) scores of `refine_scores`, on the grid of `forward`.
        """
        ClassTexts(text_embeds).check_dim(self.tower.embed_dim)
        with evaluating(self):
            if self.spreading != Spreading():
                box = (0, 0, images.shape[3], images.shape[2])
                spread = [self._spread([image[None]], [box], text_embeds) for image in images]
                scores, keys = torch.cat(spread), None
            else:
                scores, keys = self._encode(images, text_embeds)
        return refine_scores(scores, keys, self.refine, self.scale, official=self.official)

    @torch.no_grad()
    def heat_maps(self, images: Tensor, texts: ClassTexts, size: Size | None = None) -> Tensor:
        """Score every pixel of one image for every class, without refinement or background.

        Args:
            images: (1, 3, H, W) RGB in 0..255.
            texts: embeddings of the K classes; a class of several rows has the maximum of its rows.
            size: (h, w) of the maps; None is the image's size.

        Returns:
            (K, h, w): the softmax over all rows of the scaled cosines; for one class, the cosine;
            the probabilities of independent words.

        Raises:
            ValueError: texts of another width, or images of another shape.
            ImageTooLargeError: memory does not suffice for the scores.
        """
        average: Average = self.average if texts.num_classes > 1 else "cosines"
        plain = MaskCLIP(
            self.tower,
            last_block=self.last_block,
            window=self.window,
            stride=self.stride,
            shifts=self.shifts,
            average=average,
            independent=self.independent,
            logit_scale=self.logit_scale,
            official=self.official,
            guide=self.guide,
            spreading=self.spreading,
        )
        scores = plain.score_pixels(images, ClassTexts(texts.embeds), size)[0]  # (R, h, w)
        if texts.num_classes > 1 and average == "cosines" and not self.independent:
            scores = self._compare(scores)
        return texts.best_of_words(scores)

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        texts.check_dim(self.tower.embed_dim)
        grids = self._grids(image, texts)
        areas: Tensor | None = None
        if self.background.min_share is not None:
            # The share of the whole image that a class wins is needed before the first band.
            winners = [
                merge_background(band, texts.background_ids).argmax(dim=0).flatten()
                for band in self._probs(image, grids, texts, out_size)
            ]
            areas = torch.bincount(torch.cat(winners), minlength=texts.num_classes)
        for band in self._probs(image, grids, texts, out_size):
            yield find_background(
                band, self.background, texts.background_ids, areas, texts.thresholds
            )

    def _grids(self, image: Tensor, texts: ClassTexts) -> Grids:
        """Encode one image and refine its scores."""
        size = (image.shape[1], image.shape[2])
        boxes, at_once = plan_passes(self.tower, size, self.window, self.stride, self.shifts)
        batches = (
            torch.stack([reflected_crop(image, box) for box in boxes[start : start + at_once]])
            for start in range(0, len(boxes), at_once)
        )
        scores, keys = [], []
        if self.spreading != Spreading():
            scores.append(self._spread(batches, boxes, texts.embeds))
        else:
            for batch in batches:
                some_scores, some_keys = self._encode(batch, texts.embeds)
                scores.append(some_scores)
                keys += [] if some_keys is None else [some_keys]
        grid_scores = torch.cat(scores)  # (n, R, h, w)
        has_words = texts.class_ids is not None
        if has_words and self.refine != Refinement():
            # Refinement compares classes: the words of one class are no rivals.
            grid_scores = texts.best_of_words(grid_scores)
            has_words = False
        del scores
        if self.refine != Refinement():
            refined = refine_scores(
                put_together(grid_scores),
                put_together(torch.cat(keys)) if keys else None,
                self.refine,
                self.scale,
                official=self.official,
            )
            grid_scores = refined[0].unflatten(1, (len(boxes), -1)).transpose(0, 1)
        if self._averages_probs:
            grid_scores = self._compare(grid_scores.transpose(0, 1)).transpose(0, 1)
        left, top, right, bottom = boxes[0]
        padded_size = self.covered_size((bottom - top, right - left))
        return Grids(grid_scores, boxes, size, padded_size, has_words)

    def _encode(self, images: Tensor, text_embeds: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cosines (B, K, h, w) of images (B, 3, H, W), and keys if `refine` needs them."""
        if self.refine.key_smoothing is None:
            return cosines(self.dense_feats(images), text_embeds), None
        feats, keys = self.tower.dense_feats_and_keys(
            self.tower.normalize(images), self.last_block, official=self.official
        )
        return cosines(feats, text_embeds), keys

    def _spread(
        self,
        batches: Iterable[Tensor],
        boxes: list[tuple[int, int, int, int]],
        text_embeds: Tensor,
    ) -> Tensor:
        """Scores (n, R, h, w) of an image's windows in batches (B, 3, H, W), spread over all."""
        feats, compared = [], []
        for batch in batches:
            feats.append(self.dense_feats(batch))
            guide = self.guide_feats(batch)
            compared += [] if guide is None or self.spreading.propagation is None else [guide]
        left, top, right, bottom = boxes[0]
        return spread_scores(
            torch.cat(feats),
            torch.cat(compared) if compared else None,
            boxes,
            self.covered_size((bottom - top, right - left)),
            text_embeds,
            self.spreading,
        )

    def _probs(
        self, image: Tensor, grids: Grids, texts: ClassTexts, out_size: Size | None
    ) -> Iterator[Tensor]:
        """Scores (K, rows, W) at pixels; probabilities with several rows a class or background.

        Those of independent words always are.
        """
        has_rules = self.background != Background() or texts.thresholds is not None
        wants_probs = has_rules or grids.has_words or self.independent
        wants_probs = wants_probs and not self._averages_probs
        for band in self._pixel_scores(image, grids, out_size):
            if wants_probs and self.refine.key_smoothing is None:
                band = self._compare(band)
            yield texts.best_of_words(band) if grids.has_words else band

    def _compare(self, scores: Tensor) -> Tensor:
        """Probabilities of cosines (R, ...)."""
        if self.independent and self.tower.logit_bias is not None:
            return (scores * self.scale + self.tower.logit_bias.float()).sigmoid()
        return (scores * self.scale).softmax(dim=0)

    def _pixel_scores(self, image: Tensor, grids: Grids, out_size: Size | None) -> Iterator[Tensor]:
        """Scores of the grids (R or K, rows, W) at pixels, refined there if asked."""

        def bands_of(size: Size) -> Iterator[Tensor]:
            found = score_bands(
                grids.scores,
                grids.boxes,
                grids.size,
                padded_size=grids.padded_size,
                out_size=size,
                beyond=self.shifts > 1,
            )
            return (band for _, band in found)

        yield from refine_edges(
            bands_of,
            image,
            grids.size if out_size is None else out_size,
            guided=self.guided,
            pixels=self.pixels,
            tower=self.tower,
            num_rows=grids.scores.shape[1],
        )

    @property
    def _averages_probs(self) -> bool:
        """Whether the scores of patches are probabilities; smoothed ones are no cosines."""
        return self.average == "probabilities" and self.refine.key_smoothing is None

    @property
    def scale(self) -> Tensor | float:
        """Factor of the cosines before any softmax."""
        return self.tower.logit_scale.float() if self.logit_scale is None else self.logit_scale


def _check_independent(tower: CLIPTower, refine: Refinement) -> None:
    """Refuse probabilities of single words where they are unknown."""
    if tower.logit_bias is None:
        raise ValueError(
            "independent words need the logit_bias of a tower trained word by word, and this tower "
            "has none; leave MODEL.MASKCLIP.INDEPENDENT False, or choose a SigLIP such as "
            "ViT-B-16-SigLIP2"
        )
    if refine.key_smoothing is not None:
        raise ValueError(
            f"key_smoothing={refine.key_smoothing} makes scores of words that compete, and "
            "independent words do not; leave one of them out"
        )
