"""Masked language modelling of captions, with a separate decoder.

Source: [masked_distill_clip] arXiv 2208.12262.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..clip import CLIPTower, encode_text_tokens, token_table, word_tokens
from ..nets import TokenDecoder
from ..ops import check_mask_ratio, draw_word_masks

__all__ = ["MaskedLanguage"]


class MaskedLanguage(nn.Module):
    """Predict hidden words of captions from the words around them.

    Paper: [masked_distill_clip], the caption branch: 20 % of the words are masked as in [bert],
    a decoder of four layers behind the text half predicts them, cross entropy.
    Departs: CLIP's text half keeps its causal mask, and with it the embeddings that the contrastive
    loss trains; the decoder is bidirectional. Logits are products with the text half's token
    embeddings, as in [bert]'s code. A caption with words hides at least one.

    Args:
        tower: the CLIP whose text half is trained; `forward` takes it, it is no submodule.
        decoder: as wide as the text half.
        mask_ratio: share of the words that is predicted, in (0, 1).
        replace: shares of these words that become the mask vector, and that become another word;
            the rest is unchanged ([bert] Sec. 3.1).
    """

    def __init__(
        self,
        tower: CLIPTower,
        *,
        decoder: TokenDecoder,
        mask_ratio: float = 0.2,
        replace: Sequence[float] = (0.8, 0.1),
    ) -> None:
        """Refuse a ratio or shares out of their ranges with a ValueError."""
        super().__init__()
        check_mask_ratio(mask_ratio)
        if len(replace) != 2 or min(replace) < 0 or sum(replace) > 1:
            raise ValueError(
                f"replace is {list(replace)}; give the shares of words that are masked and that "
                "are exchanged, together at most 1, such as (0.8, 0.1)"
            )
        table = token_table(tower)
        self.decoder = decoder
        self.mask_ratio, self.replace = mask_ratio, (float(replace[0]), float(replace[1]))
        self.mask_embedding = nn.Parameter(0.02 * torch.randn(table.shape[1]))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, tower: CLIPTower, token_ids: Tensor) -> Tensor:
        """Loss of a batch of texts.

        Args:
            tower: the CLIP that this was built for.
            token_ids: (N, L) long, from its `tokenize`.

        Returns:
            0-dim float32, the mean over the hidden words; 0 with zero gradients if no text has a
            word.
        """
        words = word_tokens(tower, token_ids)
        length = int(words.sum(dim=1).max()) + 2  # with start and end; the rest is padding
        token_ids, words = token_ids[:, :length], words[:, :length]
        masks = draw_word_masks(words, self.mask_ratio)
        logits = self.guess(tower, token_ids, words, masks)
        total = F.cross_entropy(logits.float(), token_ids[masks], reduction="sum")
        return total / max(len(logits), 1)

    def guess(self, tower: CLIPTower, token_ids: Tensor, words: Tensor, masks: Tensor) -> Tensor:
        """Logits (M, vocabulary) of the M words of texts (N, L) under the masks (N, L)."""
        feats = encode_text_tokens(tower, self.hide(tower, token_ids, masks))
        ends = words.sum(dim=1) + 1
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        decoded = self.decoder(feats, padding=positions > ends[:, None])
        return decoded[masks] @ token_table(tower).to(decoded.dtype).t() + self.bias

    def hide(self, tower: CLIPTower, token_ids: Tensor, masks: Tensor) -> Tensor:
        """Embeddings (N, L, C) of texts (N, L) with the words under the masks replaced."""
        draws = torch.rand(token_ids.shape, device=token_ids.device)
        masked, exchanged = self.replace
        others = torch.randint_like(token_ids, len(self.bias))
        swapped = masks & (draws >= masked) & (draws < masked + exchanged)
        embeds = tower.embed_tokens(torch.where(swapped, others, token_ids))
        hidden = (masks & (draws < masked))[..., None]
        return torch.where(hidden, self.mask_embedding.to(embeds.dtype), embeds)
