"""OVSegMaskFormer: mask proposals, classified by text embeddings.

images -> one padded batch -> backbone -> `ProposalHead` -> Q masks and Q features
-> cosines with the texts -> class logits -> `SetCriterion` (training) or sums over masks (scores).

Source: [ovseg] arXiv 2210.04150, [maskformer] arXiv 2107.06278.

Shape shorthand: B images, Q proposals, N objects of an image, K classes, D joint embedding,
h x w locations, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.image_errors import need_memory
from ovseg_d2.losses import SetCriterion
from ovseg_d2.nets import HungarianMatcher, ProposalHead
from ovseg_d2.ops import at_least_float32, fused_bands, merge_background, upsample_scores
from ovseg_d2.text import ClassTexts

from .pixel_scorer import PixelScorer, each_image, evaluating

__all__ = ["ImageProposals", "OVSegMaskFormer"]

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ImageProposals:
    """Masks proposed for one image, at any size, with class logits.

    Attributes:
        class_logits: (Q, K+1) float32; the last column is "no object".
        grid_logits: (Q, h, w) of the masks, on a grid that covers the padded image.
        padded_size: (h, w) in pixels of the padded image.
        image_size: (h, w) in pixels of the image, at the padded image's top left.
    """

    class_logits: Tensor
    grid_logits: Tensor
    padded_size: Size
    image_size: Size

    @property
    def class_probs(self) -> Tensor:
        """(Q, K): the softmax over all columns, without the last; rows add up to 1 at most.

        Paper: [ovseg] Eq. (1), p_ik.
        """
        return self.class_logits.softmax(dim=1)[:, :-1]

    def mask_logits(self, size: Size | None = None) -> Tensor:
        """(Q, H, W) float32 at any size in pixels, by default the image's.

        Raises:
            ImageTooLargeError: memory does not suffice for the masks.
        """
        count, (height, width) = len(self.grid_logits), self.padded_size
        need_memory(
            3 * 4 * count * height * width,  # logits, probabilities, and masks cut out with them
            self.grid_logits.device,
            f"{count} masks of {width} x {height} pixels",
        )
        return upsample_scores(self.grid_logits.float(), self.padded_size, self.image_size, size)

    def mask_probs(self, size: Size | None = None) -> Tensor:
        """(Q, H, W) in [0, 1]: probabilities at the image's size, then resized to ``size``.

        [maskformer] resizes sums of probabilities; resizing the logits would give other edges.
        """
        probs = self.mask_logits().sigmoid()
        if size is None or tuple(size) == tuple(self.image_size):
            return probs
        return F.interpolate(probs[None], size, mode="bilinear", align_corners=False)[0]


class OVSegMaskFormer(PixelScorer):
    """Propose Q masks of an image, with the probability of each of any K classes.

    Paper: [ovseg] Sec. 3.1: a MaskFormer whose proposals have an embedding v_i of CLIP's width
    instead of class scores; class k has the logit cos(v_i, t_k) / tau with tau = 0.01, independent
    of CLIP's own scale, and "no object" has a learnt t. Scores of pixels are sums over masks of
    probabilities ([maskformer] Sec. 3.4, semantic inference).
    Departs: a class of several rows has the logit of its best row, in training too; the paper has
    one text a class.

    Args:
        backbone: normalised images (B, 3, H, W) to feature maps: a sequence, or a mapping by name.
        head: from these maps, the finest first, to proposals with D-dimensional features.
        embed_dim: D.
        mean: of R, G and B in [0, 1], as in the backbone's training.
        std: of R, G and B in [0, 1], as in the backbone's training.
        in_features: names of the maps for the head, in its order; () takes all.
        criterion: the loss; None is the paper's.
        deep_supervision: whether the loss is over all layers of the decoder, or the last one.
        size_divisibility: height and width are padded to a multiple of it, with zeros at the
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
        """Check the numbers; "no object" starts as a random vector.

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
        """Loss of one batch, see `SetCriterion`.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            texts: embeddings of the K classes.
            gt_ids: for each image (N,) int64, classes 0..K-1; N may be 0.
            gt_masks: for each image (N, H, W) bool, of the image's size.
            ignored: for each image (H, W) bool, pixels without a mask loss; None counts all pixels.

        Returns:
            ``loss_ce``, ``loss_mask``, ``loss_dice``, weighted; those of earlier layers have the
            suffixes ``_0``, ``_1``, ...

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
        # Padded as the images are, so that predictions and masks cover the same pixels.
        edges = [(0, width - size[1], 0, height - size[0]) for size in sizes]
        padded = [F.pad(masks, edge) for masks, edge in zip(gt_masks, edges, strict=False)]
        if ignored is not None:
            ignored = [F.pad(pixels, edge) for pixels, edge in zip(ignored, edges, strict=False)]
        predictions = [
            (self.class_logits(layer.query_feats, texts), layer.mask_logits)
            for layer in self.head(self._maps(batch), all_layers=self.deep_supervision)
        ]
        return self.criterion(predictions, gt_ids, padded, ignored)

    def class_logits(self, query_feats: Tensor, texts: ClassTexts) -> Tensor:
        """Features (B, Q, D) and texts -> (B, Q, K+1) float32 logits; the last is "no object".

        Raises:
            ValueError: texts of another width.
        """
        texts.check_dim(self.embed_dim)
        # Half precision would be off by whole units after scaling by 100.
        with torch.autocast(query_feats.device.type, enabled=False):
            embeds = F.normalize(query_feats.float(), dim=-1)
            no_object = F.normalize(self.no_object_embed.float(), dim=-1)
            rows = torch.cat([texts.embeds.to(embeds), no_object])
            logits = self.logit_scale * torch.einsum("bqd,rd->bqr", embeds, rows)
            classes = texts.best_of_words(logits[..., :-1], dim=-1)
            return torch.cat([classes, logits[..., -1:]], dim=-1)

    @torch.no_grad()
    def propose(self, images: Tensor | Sequence[Tensor], texts: ClassTexts) -> list[ImageProposals]:
        """Propose masks and classes for each image, in evaluation mode and without gradient.

        Arguments and errors are those of `score_pixels`.
        """
        with evaluating(self):
            batch, sizes = self._batch(images)
            (last_layer,) = self.head(self._maps(batch))
            logits = self.class_logits(last_layer.query_feats, texts)
        padded_size = batch.shape[2], batch.shape[3]
        return [
            ImageProposals(class_logits, grid_logits, padded_size, image_size)
            for class_logits, grid_logits, image_size in zip(
                logits, last_layer.mask_logits, sizes, strict=True
            )
        ]

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        (proposals,) = self.propose([image], texts)
        for band in fused_bands(proposals.class_probs, proposals.mask_probs(out_size)):
            yield merge_background(band, texts.background_ids)

    def _batch(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
        """Normalised images in one padded batch (B, 3, H, W), and the images' sizes."""
        images = [image for image, _ in each_image(images)]
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        step = self.size_divisibility
        height = -(-max(size[0] for size in sizes) // step) * step
        width = -(-max(size[1] for size in sizes) // step) * step
        mean, std = at_least_float32(self._mean), at_least_float32(self._std)
        normed = [((image.to(mean) / 255 - mean) / std).to(self._mean) for image in images]
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
