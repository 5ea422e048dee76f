"""The MaskFormer beneath OVSeg: proposals of masks, named by text embeddings.

Source: [ovseg] arXiv 2210.04150, [maskformer] arXiv 2107.06278.

Shape shorthand: B images, Q proposals, N objects of an image, K classes, D joint embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.losses import SetCriterion
from ovseg_d2.nets import HungarianMatcher, ProposalHead
from ovseg_d2.ops import at_least_float32, fused_bands, merge_background
from ovseg_d2.text import ClassTexts

from .image_proposals import ImageProposals
from .pixel_scorer import PixelScorer, each_image, evaluating

__all__ = ["OVSegMaskFormer"]

Size = tuple[int, int]


class OVSegMaskFormer(PixelScorer):
    """Q masks of an image and, for each, how likely it shows each of any K classes.

    Paper: [ovseg] Sec. 3.1: a MaskFormer whose proposals have an embedding v_i of CLIP's width in
    the place of class scores; class k has the logit cos(v_i, t_k) / tau with tau = 0.01, whatever
    CLIP's own, and one more, "no object", has a learnt t. Scores of pixels are sums over masks of
    probabilities ([maskformer] Sec. 3.4, semantic inference).
    Departs: the classes that a text bank keeps several words of have the logit of their best word,
    in training too; the paper knows one text a class.

    Args:
        backbone: normalised images (B, 3, H, W) to feature maps: a sequence, or a mapping by name.
        head: from these maps, the finest first, to proposals with D-dimensional features.
        embed_dim: D.
        mean: of RGB in [0, 1], what the backbone was trained with.
        std: likewise.
        in_features: names of the maps that the head takes, in its order; () takes all there are.
        criterion: the loss; None is the paper's.
        deep_supervision: whether all layers of the decoder are judged, or the last alone.
        size_divisibility: what height and width are padded to a multiple of, with zeros at the
            bottom and right of normalised images; a multiple of the backbone's coarsest stride.
        logit_scale: 1 / tau.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        *,
        backbone: nn.Module,
        head: ProposalHead,
        embed_dim: int,
        mean: Sequence[float],
        std: Sequence[float],
        in_features: Sequence[str] = (),
        criterion: SetCriterion | None = None,
        deep_supervision: bool = True,
        size_divisibility: int = 32,
        logit_scale: float = 100.0,
    ) -> None:
        """Put built parts together; "no object" starts as a random vector.

        Raises:
            ValueError: statistics that are not three numbers, a size below 1, or a scale that is
                not positive.
        """
        super().__init__()
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f"mean={mean}, std={std}; give three numbers each, for R, G and B")
        if size_divisibility < 1 or not logit_scale > 0:
            raise ValueError(
                f"size_divisibility={size_divisibility} and logit_scale={logit_scale}; give at "
                "least 1 pixel, and a positive factor of cosines"
            )
        self.backbone = backbone
        self.head = head
        self.criterion = criterion or SetCriterion(matcher=HungarianMatcher())
        self.deep_supervision = deep_supervision
        self.embed_dim = embed_dim
        self.in_features = tuple(in_features)
        self.size_divisibility = size_divisibility
        self.logit_scale = logit_scale
        self.no_object_embed = nn.Parameter(torch.randn(1, embed_dim) * embed_dim**-0.5)
        self.register_buffer("_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(
        self,
        images: Tensor | Sequence[Tensor],
        texts: ClassTexts,
        gt_ids: Sequence[Tensor],
        gt_masks: Sequence[Tensor],
        *,
        ignored: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            texts: embeddings of the K classes.
            gt_ids: for each image (N,) int64, classes 0..K-1; N may be 0.
            gt_masks: for each image (N, H, W) bool, of the image's size.
            ignored: for each image (H, W) bool, pixels of which masks may say what they like;
                None: what is in no object is outside of all of them.

        Returns:
            ``loss_ce``, ``loss_mask``, ``loss_dice``, weighted, and of earlier layers the same with
            ``_0``, ``_1``, ... behind.

        Raises:
            ValueError: texts, ids or masks that do not fit.
        """
        batch, sizes = self._batch(images)
        for masks, size in zip(gt_masks, sizes, strict=False):
            if masks.shape[1:] != size:
                raise ValueError(
                    f"gt_masks of shape {tuple(masks.shape)} for an image of {size}; give "
                    "(N, H, W) of the image's own size, N = 0 for none"
                )
        height, width = batch.shape[2:]
        # Padded to what predictions cover, so that matching and losses see them in one place.
        edges = [(0, width - size[1], 0, height - size[0]) for size in sizes]
        padded = [F.pad(each, edge) for each, edge in zip(gt_masks, edges, strict=False)]
        left_out = None
        if ignored is not None:
            left_out = [F.pad(each, edge) for each, edge in zip(ignored, edges, strict=False)]
        predictions = [
            (self.class_logits(each.query_feats, texts), each.mask_logits)
            for each in self.head(self._maps(batch), all_layers=self.deep_supervision)
        ]
        return self.criterion(predictions, gt_ids, padded, left_out)

    def class_logits(self, query_feats: Tensor, texts: ClassTexts) -> Tensor:
        """Compare proposals (B, Q, D) with the texts: (B, Q, K+1) float32 logits.

        A class of several rows has the logit of its best row. The last column is "no object".

        Raises:
            ValueError: texts of another width.
        """
        texts.check_dim(self.embed_dim)
        # Scaled by 100, cosines in half precision would be off by whole units.
        with torch.autocast(query_feats.device.type, enabled=False):
            embeds = F.normalize(query_feats.float(), dim=-1)
            no_object = F.normalize(self.no_object_embed.float(), dim=-1)
            rows = torch.cat([texts.embeds.to(embeds), no_object])
            logits = self.logit_scale * torch.einsum("bqd,rd->bqr", embeds, rows)
            classes = texts.best_of_words(logits[..., :-1], dim=-1)
            return torch.cat([classes, logits[..., -1:]], dim=-1)

    @torch.no_grad()
    def propose(
        self,
        images: Tensor | Sequence[Tensor],
        texts: ClassTexts,
    ) -> list[ImageProposals]:
        """Propose masks and their classes, in evaluation mode and without gradient.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            texts: embeddings of the K classes.

        Returns:
            One for each image.

        Raises:
            ValueError: texts of another width, or images of another shape.
        """
        with evaluating(self):
            batch, sizes = self._batch(images)
            (found,) = self.head(self._maps(batch))
            logits = self.class_logits(found.query_feats, texts)
        padded_size = batch.shape[2], batch.shape[3]
        return [
            ImageProposals(class_logits, grid_logits, padded_size, image_size)
            for class_logits, grid_logits, image_size in zip(
                logits, found.mask_logits, sizes, strict=True
            )
        ]

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        # One image at a time: a result does not depend on the sizes of others.
        (found,) = self.propose([image], texts)
        for band in fused_bands(found.class_probs, found.mask_probs(out_size)):
            yield merge_background(band, texts.background_ids)

    def _batch(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
        """Normalised images in one padded batch (B, 3, H, W), and the size of each."""
        each = [image for image, _ in each_image(images)]
        sizes = [(image.shape[1], image.shape[2]) for image in each]
        step = self.size_divisibility
        height = -(-max(size[0] for size in sizes) // step) * step
        width = -(-max(size[1] for size in sizes) // step) * step
        mean, std = at_least_float32(self._mean), at_least_float32(self._std)
        normed = [((image.to(mean) / 255 - mean) / std).to(self._mean) for image in each]
        padded = [
            F.pad(image, (0, width - size[1], 0, height - size[0]))
            for image, size in zip(normed, sizes, strict=True)
        ]
        return torch.stack(padded), sizes

    def _maps(self, batch: Tensor) -> list[Tensor]:
        maps = self.backbone(batch)
        if isinstance(maps, Mapping):
            return [maps[name] for name in self.in_features or maps]
        return list(maps)
