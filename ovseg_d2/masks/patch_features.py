"""Patch features of a vision transformer of timm, such as DINO or SAM's encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import eva, vision_transformer, vision_transformer_sam
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from ovseg_d2.downloads import TIMM_FILES, downloading, find_timm_weights, weights_in_folder
from ovseg_d2.weight_files import below_wrappers, describe_method, read_state_dict

__all__ = ["PatchFeatures", "PatchNetwork", "load_patch_network"]

# Plain ViTs, DINO and DINOv2; DINOv3; SAM's encoder.
PatchNetwork = VisionTransformer | Eva | VisionTransformerSAM
# Renaming of the authors' weights.
_FILTERS: dict[type[nn.Module], Any] = {
    VisionTransformer: vision_transformer.checkpoint_filter_fn,
    Eva: eva.checkpoint_filter_fn,
    VisionTransformerSAM: vision_transformer_sam.checkpoint_filter_fn,
}


Features = Literal["output", "query", "key", "value"]


class PatchFeatures:
    """Features of the last layer of images of any size.

    The network moves to the device of the images.
    """

    def __init__(
        self, network: PatchNetwork, *, size: int = 0, features: Features = "output"
    ) -> None:
        """Set the network to eval mode.

        Args:
            network: takes images of any size.
            size: pixels of the shorter side after resizing; 0 keeps the size. Both sides are then
                rounded to whole patches.
            features: the output after its norm, or the queries, keys or values of the last
                attention, heads concatenated; these three of a plain ViT only.

        Raises:
            ValueError: a negative size, or features that the network does not have.
        """
        if features not in get_args(Features):
            raise ValueError(f"features={features!r}; choose one of {get_args(Features)}")
        if features != "output" and not isinstance(network, VisionTransformer):
            raise ValueError(
                f"features={features!r} needs a plain ViT, not {type(network).__name__}; take "
                "'output' (MODEL.MASKCLIP.GUIDE.FEATURES)"
            )
        if size < 0:
            raise ValueError(f"size={size}; give a size in pixels, or 0 to keep the image's")
        self._network = network.eval().requires_grad_(False)
        self._size = size
        self._features = features
        config = resolve_model_data_config(network)
        self._mean, self._std = (torch.tensor(config[k])[:, None, None] for k in ("mean", "std"))

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self._network.parameters()).device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, h, w) features of images (B, 3, H, W), RGB in 0..255; a grid over the image."""
        weight = next(self._network.parameters())
        if weight.device != images.device:
            self._network.to(images.device)
        height, width = images.shape[-2:]
        scale = self._size / min(height, width) if self._size else 1.0
        embed: Any = self._network.patch_embed
        patch_h, patch_w = embed.patch_size
        grid = max(round(height * scale / patch_h), 1), max(round(width * scale / patch_w), 1)
        mean, std = (x.to(images.device) for x in (self._mean, self._std))
        pixels = nn.functional.interpolate(
            (images.to(weight.dtype) / 255 - mean) / std,
            size=(grid[0] * patch_h, grid[1] * patch_w),
            mode="bilinear",
            antialias=True,
        )
        tokens = self._last_layer(pixels)
        if tokens.dim() == 4:  # SAM's neck gives a map
            return tokens
        return tokens[:, self._network.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)

    def _last_layer(self, pixels: Tensor) -> Tensor:
        """Tokens (B, N, C), or SAM's map (B, C, h, w)."""
        if self._features == "output":
            return self._network.forward_features(pixels)
        attention: Any = self._network.blocks[-1].attn
        outputs: list[Tensor] = []
        hook = attention.qkv.register_forward_hook(lambda _, __, output: outputs.append(output))
        try:
            self._network.forward_features(pixels)
        finally:
            hook.remove()
        part = ("query", "key", "value").index(self._features)
        return outputs[0].chunk(3, dim=-1)[part]


def load_patch_network(
    name: str, weights: str = "", *, seed: int = 0, key: str = "weights"
) -> PatchNetwork:
    """Build a vision transformer of timm for images of any size, on the CPU.

    Args:
        name: of timm, such as "vit_base_patch8_224.dino" or "samvit_base_patch16.sa1b".
        weights: a file as timm or the authors publish it, or a folder with one; "" takes timm's
            weights, downloaded on first use; "random" is for trials.
        seed: of random weights.
        key: the config key of the weights, for errors.

    Raises:
        ValueError: not such a network, or weights of another one.
        WeightFileError: a file that cannot be read.
        DownloadError: timm's weights are not cached and cannot be downloaded.
        FileNotFoundError: the weight file does not exist.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _create(name, pretrained=not weights, key=key)
    if weights not in ("", "random"):
        _load(network, weights, name)
    return network


def _create(name: str, *, pretrained: bool, key: str) -> PatchNetwork:
    remedy = (
        f"give a file or folder of weights for {name!r} ({key}), or copy the cache of a machine "
        "that has them and let HF_HOME name its folder"
    )
    cached = find_timm_weights(name, remedy) if pretrained else {}
    # SAM's encoder takes any size without the option, and has no classifier to leave out.
    any_size: dict[str, Any] = {} if name.startswith("samvit_") else {"dynamic_img_size": True}
    try:
        with downloading(f"the weights of {name!r}", remedy):
            network = timm.create_model(
                name, pretrained=pretrained, num_classes=0, **any_size, **cached
            )
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"timm cannot build the ViT {name!r} ({reason}); choose one such as "
            "'vit_small_patch16_224.dino', or give a file of weights if downloading fails"
        ) from error
    if not isinstance(network, PatchNetwork):
        raise ValueError(
            f"{name!r} is a {type(network).__name__}; choose a plain ViT, such as "
            "'vit_small_patch16_224.dino', or SAM's encoder, 'samvit_base_patch16.sa1b'"
        )
    return network


def _load(network: PatchNetwork, weights: str, name: str) -> None:
    path = Path(weights)
    state = read_state_dict(str(weights_in_folder(path, TIMM_FILES) if path.is_dir() else path))
    content = below_wrappers(state, network.state_dict)
    try:
        network.load_state_dict(_FILTERS[type(network)](content, network))
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        method = describe_method(state)
        raise ValueError(
            f"the weights in {weights!r} are not those of {name!r} ({reason}); "
            + (f"their names are those of {method}; " if method else "")
            + "name the model they belong to, or give another file"
        ) from error
