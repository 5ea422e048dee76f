"""One CLIP: an open_clip model with its tokenizer and its pixel statistics."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip import CLIP, CoCa, CustomTextCLIP
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor, nn

from . import text
from .geometry import TowerGeometry
from .image_tower import ImageTowerKind, image_tower_kind
from .last_block import LastBlock
from .training import Chosen

_MASKCLIP = LastBlock()


class CLIPTower(nn.Module):
    """An open_clip model with the features that open-vocabulary segmentation needs.

    The model is never patched, and its state dict stays open_clip's, with the prefix `model.`.

    Attributes:
        mean: of RGB in [0, 1], from the image tower's training.
        std: standard deviation of RGB in [0, 1].
        possible_activations: whether weights of this model have QuickGELU, as far as is known.
        chosen: activation and statistics that the user has set, which no weights change.

    Shape shorthand: B images, N texts, L tokens, D joint embedding, HxW pixels, hxw patches.
    """

    def __init__(
        self,
        model: CLIP | CustomTextCLIP | CoCa,
        tokenizer: SimpleTokenizer | HFTokenizer,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Check that the model is supported.

        Args:
            model: open_clip `CLIP`, `CustomTextCLIP` or `CoCa` with an image tower of
                `image_tower_kind`.
            tokenizer: the model's `SimpleTokenizer` or `HFTokenizer` of open_clip.
            mean: of RGB in [0, 1], from the image tower's training.
            std: standard deviation of RGB, see ``mean``.

        Raises:
            ValueError: an unsupported kind of tower, or statistics of other than three numbers.
        """
        super().__init__()
        _check_image_tower(model)
        text.check_text_tower(model)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f"mean={mean}, std={std}; give three numbers for each, of R, G and B.")
        self.model: CLIP | CustomTextCLIP | CoCa = model
        self.tokenizer = tokenizer
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self.knows_shapes_only = False  # True for ShapesCLIP with the packaged weights
        self.has_random_weights = False
        self.possible_activations: set[bool] = set()
        self.chosen = Chosen()

    @property
    def patch_size(self) -> tuple[int, int]:
        """Pixels (h, w) of one location: a ViT's patch, or the stride of other towers."""
        return self._geometry.patch_size

    @property
    def image_size(self) -> tuple[int, int]:
        """Pixels (h, w) of the images the tower was trained on."""
        return self._geometry.image_size

    @property
    def grid(self) -> tuple[int, int]:
        """Patches (h, w) at `image_size`."""
        return self._geometry.grid

    @property
    def width(self) -> int:
        """Channels of the image tower's tokens, or of its last stage."""
        return self._geometry.width

    @property
    def embed_dim(self) -> int:
        """D, the size of the joint embedding."""
        return self._geometry.embed_dim

    @property
    def has_keys(self) -> bool:
        """Whether `dense_feats_and_keys` works; a ConvNeXt and a FastViT have no keys."""
        return self._kind.dense_and_keys is not None

    @property
    def context_length(self) -> int:
        """Tokens of a text, start and end included."""
        if isinstance(text.text_tower(self.model), HFTextEncoder):
            return self.tokenizer.context_length  # the encoder may read any length
        return self.model.context_length

    @property
    def logit_scale(self) -> Tensor:
        """0-dim factor of cosine similarities: the inverse temperature, not its logarithm."""
        return self.model.logit_scale.exp().reshape(())

    @property
    def logit_bias(self) -> Tensor | None:
        """0-dim; sigmoid(logit_scale * cosine + logit_bias) is the probability that a text fits.

        None for towers that were trained with a softmax over texts, not word by word as SigLIP.
        """
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else bias.reshape(())

    @property
    def device(self) -> torch.device:
        """Device of the image tower's weights."""
        return self._first_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the image tower's weights."""
        return self._first_weight.dtype

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise pixels with the statistics of the image tower's training.

        Args:
            images: (B, 3, H, W) or (3, H, W), RGB in 0..255; integers become the tower's dtype.

        Returns:
            Same shape, floating point.
        """
        if not images.is_floating_point():
            images = images.to(self.dtype)
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        std = images.new_tensor(self.std).view(3, 1, 1)
        return (images - 255 * mean) / (255 * std)

    def encode_image(
        self, images: Tensor, *, unit_norm: bool = True, attention_only: Tensor | None = None
    ) -> Tensor:
        """Encode each image as one vector.

        Args:
            images: (B, 3, H, W) normalised; any H and W, at least one patch for convolutional
                towers (positions are interpolated; a ViT adds zeros at the bottom and right up to
                whole patches).
            unit_norm: False returns vectors that are not normalised.
            attention_only: (B,) bool, images whose vector is the output of the last attention,
                without the residual and MLP that follow; open_clip's ViTs only. For training.

        Returns:
            (B, D) float, unit norm.

        Raises:
            ValueError: images smaller than a patch, for a convolutional tower; or
                ``attention_only`` for a tower without a class token.
        """
        images = self._fit(images, pad=False)
        if attention_only is None:
            embeds = self._kind.encode(self.model.visual, images)
        elif self._kind.encode_attention is None:
            raise ValueError(
                "attention_only needs open_clip's ViT with a class token, and this image tower is "
                "another; leave it None, or choose a ViT such as 'ViT-B-16'"
            )
        else:
            embeds = self._kind.encode_attention(self.model.visual, images, attention_only)
        return F.normalize(embeds, dim=-1) if unit_norm else embeds

    def dense_feats(
        self,
        images: Tensor,
        last_block: LastBlock = _MASKCLIP,
        *,
        official: bool = False,
        visual: nn.Module | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """Encode each location of each image as a vector of the joint space.

        Departs: in the releases of [maskclip] and [pixelclip] convolutional towers do not pad the
        image, so the remainder at the bottom and right gets no location; nor do ViTs in those of
        [sclip], [clearclip] and [naclip]. Here zeros are added up to whole patches, and the grid
        covers every pixel.

        Args:
            images: (B, 3, H, W) normalised; any H and W.
            last_block: MaskCLIP's value path by default.
            official: no padding for convolutional towers, and for a ViT whose last block
                correlates patches, see `vit_dense`; their grid, h = about H / patch, then stands
                for the whole image. Changes nothing for other ViTs.
            visual: image half of the same kind and sizes that replaces the tower's, such as its
                moving average.
            guide: (B, C, h, w) features of another network, on a grid that spans the padded
                images, for a last block that compares them (`LastBlock.needs_guide`); others
                ignore it.

        Returns:
            (B, D, h, w) float, raw, h = ceil(H / patch); or on the grid of the guide.

        Raises:
            ValueError: the tower does not support the last block; the guide is missing or of
                another shape; or, with `official`, images smaller than a patch.
        """
        visual = self.model.visual if visual is None else visual
        images = self._fit_dense(images, last_block, official)
        return self._kind.dense(visual, images, last_block, official, guide)

    def dense_feats_and_keys(
        self, images: Tensor, last_block: LastBlock = _MASKCLIP, *, official: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return `dense_feats` and, from the same pass, the keys of all locations for smoothing.

        Departs: in the release of [maskclip] a ViT's keys pass the attention's output projection,
        which was trained on values; here they are the attention's keys.

        Args:
            images: as for `dense_feats`.
            last_block: as for `dense_feats`; has no effect on keys.
            official: as for `dense_feats`; a ViT's keys are then those of the release.

        Returns:
            Features (B, D, h, w) and keys (B, C, h, w), float, raw; C is the tower's width.

        Raises:
            ValueError: those of `dense_feats`; or the tower has no keys, see `has_keys`.
        """
        if self._kind.dense_and_keys is None:
            raise ValueError(
                "this image tower has no attention and so no keys; leave key smoothing out, or "
                "choose a ViT or a ResNet."
            )
        images = self._fit_dense(images, last_block, official)
        return self._kind.dense_and_keys(self.model.visual, images, last_block, official)

    def dense_bytes(self, size: tuple[int, int]) -> int:
        """Estimated bytes of the dense features of an image of (H, W) pixels, see `memory`."""
        return self._kind.dense_bytes(self.model.visual, size)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn texts into token ids.

        Args:
            texts: N texts.

        Returns:
            (N, context_length) long, on the CPU.

        Raises:
            TypeError: `texts` is a single string.
            ValueError: a text is too long (open_clip would truncate it silently).
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
            unit_norm: False returns vectors that are not normalised.

        Returns:
            (N, D) float, unit norm.
        """
        return self.encode_token_embeds(
            self.embed_tokens(token_ids), token_ids, unit_norm=unit_norm
        )

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """Embeddings of token ids (N, L): (N, L, width of the text tower), without positions."""
        return text.embed_tokens(text.text_tower(self.model), token_ids)

    def encode_token_embeds(
        self, embeds: Tensor, token_ids: Tensor, *, unit_norm: bool = True
    ) -> Tensor:
        """Encode texts from token embeddings, which may be learnable prompts.

        Args:
            embeds: (N, L, width of the text tower), without positions.
            token_ids: (N, L) long, which mark the end of each text.
            unit_norm: False returns vectors that are not normalised.

        Returns:
            (N, D) float, unit norm.

        Raises:
            ValueError: their sizes N or L differ.
        """
        if embeds.shape[:2] != token_ids.shape:
            raise ValueError(
                f"embeds has shape {tuple(embeds.shape)} and token_ids {tuple(token_ids.shape)}; "
                "the first two sizes must agree."
            )
        out = text.encode_token_embeds(text.text_tower(self.model), embeds, token_ids)
        return F.normalize(out, dim=-1) if unit_norm else out

    @property
    def _kind(self) -> ImageTowerKind:
        return image_tower_kind(self.model.visual)

    @property
    def _geometry(self) -> TowerGeometry:
        return self._kind.geometry(self.model.visual)

    @property
    def _first_weight(self) -> Tensor:
        """Weight of the first convolution."""
        modules = self.model.visual.modules()
        return next(module.weight for module in modules if isinstance(module, nn.Conv2d))

    def _fit_dense(self, images: Tensor, last_block: LastBlock, official: bool) -> Tensor:
        """Fit images for dense features; a ViT's lose the remainder if the release drops it."""
        images = self._fit(images, pad=not official)
        if not (official and self._kind.pads and last_block.correlates):
            return images
        self._check_size(images)
        (height, width), (patch_h, patch_w) = images.shape[-2:], self.patch_size
        return images[..., : height - height % patch_h, : width - width % patch_w]

    def _fit(self, images: Tensor, pad: bool) -> Tensor:
        """Cast images to the tower's dtype, and pad them or check their size."""
        images = images.to(self.dtype)
        if self._kind.pads:
            return images
        if pad:
            (height, width), (patch_h, patch_w) = images.shape[-2:], self.patch_size
            return F.pad(images, (0, -width % patch_w, 0, -height % patch_h))
        self._check_size(images)
        return images

    def _check_size(self, images: Tensor) -> None:
        (height, width), (patch_h, patch_w) = images.shape[-2:], self.patch_size
        if height < patch_h or width < patch_w:
            raise ValueError(
                f"images of {height}x{width} pixels are smaller than {patch_h}x{patch_w}, which "
                "this tower's convolutions need; enlarge them."
            )

    def _count_tokens(self, sentence: str) -> int:
        if hasattr(self.tokenizer, "encode"):  # SimpleTokenizer; start and end are not counted
            return len(self.tokenizer.encode(sentence)) + 2
        hf_tokenizer = self.tokenizer.tokenizer
        return len(hf_tokenizer(self.tokenizer.clean_fn(sentence)).input_ids)


def _check_image_tower(model: CLIP | CustomTextCLIP | CoCa) -> None:
    """Refuse unsupported image towers."""
    kind = image_tower_kind(model.visual)
    if kind.check is not None:
        kind.check(model.visual)
