"""One CLIP: an open_clip model with its tokenizer and its pixel statistics."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip import CLIP, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from . import text, vit
from .last_block import LastBlock

_MASKCLIP = LastBlock()


class CLIPTower(nn.Module):
    """An open_clip model seen the way open-vocabulary segmentation needs it.

    The model is used as it is, never patched, and its state dict stays open_clip's; the tower's
    own has the prefix `model.` and nothing else.

    Letters: B images, N texts, L tokens, D joint embedding, HxW pixels, hxw patches.
    """

    def __init__(
        self,
        model: CLIP | CustomTextCLIP,
        tokenizer: SimpleTokenizer | HFTokenizer,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Put built parts together.

        Args:
            model: open_clip `CLIP` or `CustomTextCLIP` with a `VisionTransformer`.
            tokenizer: open_clip's `SimpleTokenizer` or `HFTokenizer` that belongs to it.
            mean: of RGB in [0, 1], what the image tower was trained with.
            std: likewise.

        Raises:
            ValueError: a tower of a kind that is not supported, or statistics that are not three
                numbers.
        """
        super().__init__()
        _check_towers(model)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f"mean={mean}, std={std}; give three numbers each, for R, G and B.")
        self.model: CLIP | CustomTextCLIP = model
        self.tokenizer = tokenizer
        self._mean = tuple(float(value) for value in mean)
        self._std = tuple(float(value) for value in std)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of RGB in [0, 1]."""
        return self._mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of RGB in [0, 1]."""
        return self._std

    @property
    def patch_size(self) -> tuple[int, int]:
        """Pixels (h, w) of one patch."""
        return tuple(self.model.visual.patch_size)

    @property
    def image_size(self) -> tuple[int, int]:
        """Pixels (h, w) the positions were learnt for."""
        return tuple(self.model.visual.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) the positions were learnt for."""
        return tuple(self.model.visual.grid_size)

    @property
    def width(self) -> int:
        """Channels of the image tower's tokens."""
        return self.model.visual.conv1.out_channels

    @property
    def embed_dim(self) -> int:
        """D, the size of the joint embedding."""
        proj = self.model.visual.proj
        return self.width if proj is None else proj.shape[1]

    @property
    def context_length(self) -> int:
        """Tokens of a text, start and end included."""
        return self.model.context_length

    @property
    def logit_scale(self) -> Tensor:
        """0-dim factor of cosine similarities (the inverse temperature, not its logarithm)."""
        return self.model.logit_scale.exp().reshape(())

    @property
    def device(self) -> torch.device:
        """Where the image tower's weights are."""
        return self.model.visual.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the image tower's weights."""
        return self.model.visual.conv1.weight.dtype

    def normalize(self, images: Tensor) -> Tensor:
        """Bring pixels to the statistics the image tower was trained with.

        Args:
            images: (B, 3, H, W) or (3, H, W), RGB in 0..255; integers become the tower's dtype.

        Returns:
            Same shape, floating point.
        """
        if not images.is_floating_point():
            images = images.to(self.dtype)
        mean = images.new_tensor(self._mean).view(3, 1, 1)
        std = images.new_tensor(self._std).view(3, 1, 1)
        return (images - 255 * mean) / (255 * std)

    def encode_image(self, images: Tensor, *, unit_norm: bool = True) -> Tensor:
        """Encode each image as one vector.

        Args:
            images: (B, 3, H, W) normalised; any H and W (zeros are added at the bottom and right
                up to whole patches, positions are interpolated).
            unit_norm: False leaves the vectors at their own length.

        Returns:
            (B, D) float, unit norm.
        """
        embeds = vit.vit_global(self.model.visual, images)
        return F.normalize(embeds, dim=-1) if unit_norm else embeds

    def dense_feats(self, images: Tensor, last_block: LastBlock = _MASKCLIP) -> Tensor:
        """Encode each location of each image as a vector of the joint space.

        Args:
            images: (B, 3, H, W) normalised; any H and W.
            last_block: what the last block does; MaskCLIP's value path by default.

        Returns:
            (B, D, h, w) float, raw, h = ceil(H / patch).
        """
        return vit.vit_dense(self.model.visual, images, last_block)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn texts into token ids.

        Args:
            texts: N texts.

        Returns:
            (N, context_length) long, on the CPU.

        Raises:
            TypeError: `texts` is a single string.
            ValueError: a text does not fit (open_clip would cut it off silently).
        """
        if isinstance(texts, str):
            raise TypeError(f"texts={texts!r} is one string; give a list of strings.")
        for sentence in texts:
            count = self._count_tokens(sentence)
            if count > self.context_length:
                raise ValueError(
                    f"the text {sentence!r} has {count} tokens, start and end included, and the "
                    f"text tower reads {self.context_length}; shorten it."
                )
        if len(texts) == 0:
            return torch.zeros(0, self.context_length, dtype=torch.long)
        return self.tokenizer(list(texts), context_length=self.context_length).long()

    def encode_text(self, token_ids: Tensor, *, unit_norm: bool = True) -> Tensor:
        """Encode texts.

        Args:
            token_ids: (N, L) long, from `tokenize`.
            unit_norm: False leaves the vectors at their own length.

        Returns:
            (N, D) float, unit norm.
        """
        return self.encode_token_embeds(
            self.embed_tokens(token_ids), token_ids, unit_norm=unit_norm
        )

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """Look up the embeddings of token ids (N, L): (N, L, width of the text tower)."""
        return text.embed_tokens(text.text_tower(self.model), token_ids)

    def encode_token_embeds(
        self, embeds: Tensor, token_ids: Tensor, *, unit_norm: bool = True
    ) -> Tensor:
        """Encode texts whose token embeddings are given: the seam for learnable prompts.

        Args:
            embeds: (N, L, width of the text tower), without positions.
            token_ids: (N, L) long; says where each text ends.
            unit_norm: False leaves the vectors at their own length.

        Returns:
            (N, D) float, unit norm.

        Raises:
            ValueError: the two disagree in N or L.
        """
        if embeds.shape[:2] != token_ids.shape:
            raise ValueError(
                f"embeds has shape {tuple(embeds.shape)} and token_ids {tuple(token_ids.shape)}; "
                "the first two sizes must agree."
            )
        out = text.encode_token_embeds(text.text_tower(self.model), embeds, token_ids)
        return F.normalize(out, dim=-1) if unit_norm else out

    def _count_tokens(self, sentence: str) -> int:
        if hasattr(self.tokenizer, "encode"):  # SimpleTokenizer; start and end are not counted
            return len(self.tokenizer.encode(sentence)) + 2
        hf_tokenizer = self.tokenizer.tokenizer
        return len(hf_tokenizer(self.tokenizer.clean_fn(sentence)).input_ids)


def _check_towers(model: CLIP | CustomTextCLIP) -> None:
    """Refuse models whose parts would be read wrongly."""
    visual = model.visual
    if not isinstance(visual, VisionTransformer):
        raise ValueError(
            f"the image tower is a {type(visual).__name__}, and only open_clip's VisionTransformer "
            "is supported; choose a ViT such as 'ViT-B-16'."
        )
    if visual.pool_type not in ("tok", "avg") and visual.attn_pool is None:
        raise ValueError(
            f"the image tower has pool_type={visual.pool_type!r}; 'tok' and 'avg' are known."
        )
    tower = text.text_tower(model)
    if tower is not model and not isinstance(tower, TextTransformer):
        raise ValueError(
            f"the text tower is a {type(tower).__name__}, and only open_clip's TextTransformer is "
            "supported; choose a model whose text tower is CLIP's own."
        )
    if getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False):
        raise ValueError(
            "the text tower appends a class token or masks its padding (CoCa), which is not "
            "supported; choose a model whose text is pooled at its end token."
        )
    if text.text_pool_type(tower) == "none":
        raise ValueError("the text tower has pool_type='none' and gives no vector for a text.")
