"""Masks from DINO: a picture's patches, clustered by what a self-supervised ViT makes of them."""

import logging
from pathlib import Path

import numpy as np
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from ovseg_d2.downloads import TIMM_FILES, downloading, find_timm_weights, weights_in_folder
from ovseg_d2.masks.labels import masks_of_labels, nearest_pixels
from ovseg_d2.ops import kmeans
from ovseg_d2.weight_files import below_wrappers, describe_method, read_state_dict

__all__ = ["DinoClusters"]

_logger = logging.getLogger(__name__)


class DinoClusters:
    """K-means over the patches of each picture by itself.

    Paper: [pixelclip] DINO masks: ViT-S/16, last layer, 16 clusters per image, on the fly.

    The masks share the picture out, each cluster being one mask, be it in one piece or not. They
    are a function of picture and seed alone.
    """

    def __init__(
        self, model: VisionTransformer, *, num_clusters: int = 16, size: int = 0, seed: int = 0
    ) -> None:
        """Take a ViT, on whatever device it is.

        Args:
            model: of timm, able to take pictures of any size; it is put into eval mode.
            num_clusters: most masks of a picture; one of fewer patches has fewer.
            size: pixels that the shorter side of pictures is resized to; 0 keeps their size. Either
                way both sides are then rounded to whole patches.
            seed: of k-means.

        Raises:
            ValueError: less than one cluster, or a negative size.
        """
        if num_clusters < 1 or size < 0:
            raise ValueError(
                f"num_clusters={num_clusters}, size={size}; give at least 1 cluster, and a size in "
                "pixels, or 0 for the picture's own"
            )
        self._model = model.eval().requires_grad_(False)
        self._num_clusters = num_clusters
        self._size = size
        self._seed = seed
        about = resolve_model_data_config(model)
        self._mean, self._std = (torch.tensor(about[key])[:, None, None] for key in ("mean", "std"))

    @classmethod
    def load(
        cls,
        *,
        model: str = "vit_small_patch16_224.dino",
        weights: str = "",
        num_clusters: int = 16,
        size: int = 0,
        seed: int = 0,
        device: str = "cpu",
    ) -> "DinoClusters":
        """Build the model.

        Args:
            model: a ViT of timm, such as "vit_small_patch14_dinov2.lvd142m".
            weights: a file of them, as timm or the authors publish them, or a folder with one; ""
                takes timm's own, which are downloaded the first time; "random" is for trials.
            num_clusters: see the constructor, as for ``size`` and ``seed``.
            size: pixels.
            seed: of k-means and of random weights.
            device: where the model runs.

        Raises:
            ValueError: no ViT of timm, or weights of another model.
            WeightFileError: a file that cannot be read.
            DownloadError: timm's weights are in no cache, and there is no network.
            FileNotFoundError: no such file.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _create(model, pretrained=not weights)
        if weights == "random":
            _logger.warning("DINO has random weights, as was asked for: its masks mean nothing")
        if weights not in ("", "random"):
            _load(network, weights, model)
        return cls(network.to(device), num_clusters=num_clusters, size=size, seed=seed)

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 picture, at most ``num_clusters``."""
        height, width = image.shape[:2]
        feats = self._patch_feats(image)
        grid_h, grid_w = feats.shape[:2]
        points = feats.flatten(0, 1)[None]
        ids = kmeans(points, self._num_clusters, seed=self._seed).ids[0].cpu().numpy()
        rows, columns = nearest_pixels(grid_h, height), nearest_pixels(grid_w, width)
        return masks_of_labels(ids.reshape(grid_h, grid_w)[rows[:, None], columns])

    @torch.inference_mode()
    def _patch_feats(self, image: np.ndarray) -> Tensor:
        """(h, w, C) features of the last layer, after its norm; special tokens are dropped."""
        device = next(self._model.parameters()).device
        scale = self._size / min(image.shape[:2]) if self._size else 1.0
        patch = self._model.patch_embed.patch_size
        grid = [
            max(round(side * scale / step), 1)
            for side, step in zip(image.shape[:2], patch, strict=True)
        ]
        pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)
        pixels = nn.functional.interpolate(
            ((pixels - self._mean) / self._std)[None].to(device),
            size=[cells * step for cells, step in zip(grid, patch, strict=True)],
            mode="bilinear",
            antialias=True,
        )
        tokens = self._model.forward_features(pixels)[0, self._model.num_prefix_tokens :]
        return tokens.reshape(*grid, -1)


def _create(name: str, *, pretrained: bool) -> VisionTransformer:
    remedy = (
        f"give a file or folder of weights for {name!r} (weights=, INPUT.MASKS.DINO.WEIGHTS), or "
        "copy the cache of a machine that has them and let HF_HOME name its folder"
    )
    found = find_timm_weights(name, remedy) if pretrained else {}
    try:
        with downloading(f"the weights of {name!r}", remedy):
            network = timm.create_model(
                name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **found
            )
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"timm cannot build the ViT {name!r} ({reason}); choose one such as "
            "'vit_small_patch16_224.dino', or give a file of weights where none can be downloaded"
        ) from error
    if not isinstance(network, VisionTransformer):
        raise ValueError(
            f"{name!r} is a {type(network).__name__}; choose a plain ViT, such as "
            "'vit_small_patch16_224.dino'"
        )
    return network


def _load(network: VisionTransformer, weights: str, name: str) -> None:
    path = Path(weights)
    state = read_state_dict(str(weights_in_folder(path, TIMM_FILES) if path.is_dir() else path))
    content = below_wrappers(state, network.state_dict)
    try:
        network.load_state_dict(checkpoint_filter_fn(content, network))
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        method = describe_method(state)
        raise ValueError(
            f"the weights in {weights!r} are not those of {name!r} ({reason}); "
            + (f"by their names they are of {method}; " if method else "")
            + "name the model they belong to, or another file"
        ) from error
