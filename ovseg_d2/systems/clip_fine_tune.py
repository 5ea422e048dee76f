"""CLIPFineTune: CLIP's image encoder trained on labels, the baseline of MaskCLIP+.

Source: [maskclip] arXiv 2112.01071, Sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ovseg_d2.losses import pixel_cross_entropy_loss
from ovseg_d2.ops import UNLABELLED, check_labels
from ovseg_d2.text import ClassTexts

from .text_segmenter import TextSegmenter

__all__ = ["CLIPFineTune"]

# Label without a loss; the dataset's ignore label may be the index of a seen class.
_IGNORED = -100


class CLIPFineTune(nn.Module):
    """Train a network on CLIP's image encoder from labels of seen classes.

    DeepLab(x) = C_phi(H(V(x))), phi = M(t): the classifier's weights phi come from the text
    embeddings t through a mapper M, so that unseen classes have weights too.

    Paper: [maskclip] Sec. 3.1, Eq. (1) and (2), which suspects three causes for the loss of unseen
    classes: a changed network, changed weights, and the mapper. The parts choose each: the head
    (none leaves the features of the joint space unchanged), a frozen backbone or not, and the
    classifier's mapper M (none is phi = t).

    Args:
        segmenter: the network to train, with its classifier.
        ignore: label of pixels that do not count.
    """

    def __init__(self, segmenter: TextSegmenter, *, ignore: int = 255) -> None:
        """Refuse a segmenter without trainable weights with a ValueError."""
        super().__init__()
        if not any(p.requires_grad for p in segmenter.parameters()):
            raise ValueError(
                "nothing is to be trained: the encoder is frozen, the head has no weights and "
                "there is no mapper; make one of them trainable, or evaluate MaskCLIP, which is "
                "the same model"
            )
        self.segmenter = segmenter
        self.ignore = ignore

    def forward(
        self,
        images: Tensor,
        texts: ClassTexts,
        labels: Tensor,
        *,
        unseen_ids: Sequence[int] = (),
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            images: (B, 3, H, W) RGB in 0..255, in whole strides of the network.
            texts: embeddings of all K classes, one row each; their background classes are used if
                the classifier learns a background.
            labels: (B, H, W) int64: seen classes, `UNLABELLED` or the ignore label; the last two
                have no loss.
            unseen_ids: classes that are not trained; they are left out of the softmax.

        Returns:
            ``loss_sem_seg``, 0-dim.

        Raises:
            ValueError: labels of an unseen class, of another size or outside of 0..K-1, fewer than
                two seen classes, or images that are not whole strides.
        """
        size, num_classes = (images.shape[2], images.shape[3]), texts.num_classes
        self.segmenter.check_size(size)
        if labels.shape != (len(images), *size):
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}; give {(len(images), *size)}"
            )
        check_labels(labels, num_classes, ignore=self.ignore, forbidden=unseen_ids)
        seen_ids = sorted(set(range(num_classes)) - set(unseen_ids))
        if len(seen_ids) < 2:
            raise ValueError(
                f"of {num_classes} classes {len(seen_ids)} are seen; training needs two or more"
            )
        seen = torch.tensor(seen_ids, device=labels.device)
        seen_texts = texts.select(seen_ids)
        logits = self.segmenter(
            images, seen_texts.embeds, background_rows=seen_texts.background_rows
        )
        # Class -> index among the seen classes.
        indices = torch.full((num_classes,), _IGNORED, device=labels.device)
        indices[seen] = torch.arange(len(seen), device=labels.device)
        known = (labels != UNLABELLED) & (labels != self.ignore)
        targets = torch.where(known, indices[labels.clamp(0, num_classes - 1)], _IGNORED)
        return {"loss_sem_seg": pixel_cross_entropy_loss(logits, targets, ignore=_IGNORED)}
