"""Text towers of transformers inside open_clip's HFTextEncoder: XLM-RoBERTa, mT5, NLLB, RoBERTa.

Shape shorthand: N texts, L tokens, C width of the text tower, D joint embedding.
"""

from open_clip.hf_model import HFTextEncoder
from torch import Tensor


def hf_token_table(tower: HFTextEncoder) -> Tensor:
    """The embeddings of all tokens, (vocabulary, C)."""
    return tower.transformer.get_input_embeddings().weight


def hf_embed_tokens(tower: HFTextEncoder, token_ids: Tensor) -> Tensor:
    """Embeddings (N, L, C) of token ids (N, L), without positions."""
    return tower.transformer.get_input_embeddings()(token_ids)


def hf_encode_token_embeds(tower: HFTextEncoder, token_embeds: Tensor, token_ids: Tensor) -> Tensor:
    """Encode texts given as token embeddings (N, L, C) as vectors (N, D), not normalised.

    Tokens of ``token_ids`` (N, L) that pad a text are not attended to.
    """
    kept = (token_ids != tower.config.pad_token_id).long()
    out = tower.transformer(inputs_embeds=token_embeds, attention_mask=kept)
    return tower.proj(tower.pooler(out, kept))
