"""Masks from clusters of a DINO ViT's patch features."""

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
    """K-means over the patch features of each image.

    Paper: [pixelclip] DINO masks: ViT-S/16, last layer, 16 clusters per image, on the fly.

    The masks partition the image; each cluster is one mask, connected or not. They depend on image
    and seed only.
    """

    def __init__(
        self, model: VisionTransformer, *, num_clusters: int = 16, size: int = 0, seed: int = 0
    ) -> None:
        """Set the model to eval mode and check the options.

        Args:
            model: a ViT of timm that takes images of any size, on any device.
            num_clusters: maximum number of masks per image; an image of fewer patches has fewer.
            size: pixels of the shorter side after resizing; 0 keeps the size. Both sides are then
                rounded to whole patches.
            seed: of k-means.

        Raises:
            ValueError: less than one cluster, or a negative size.
        """
        if num_clusters < 1 or size < 0:
            raise ValueError(
                f"num_clusters={num_clusters}, size={size}; give at least 1 cluster, and a size in "
                "pixels, or 0 to keep the image's"
            )
        self._model = model.eval().requires_grad_(False)
        self._num_clusters = num_clusters
        self._size = size
        self._seed = seed
        config = resolve_model_data_config(model)
        self._mean, self._std = (torch.tensor(config[k])[:, None, None] for k in ("mean", "std"))

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
        """Build the model and its k-means.

        Args:
            model: name of a ViT of timm, such as "vit_small_patch14_dinov2.lvd142m".
            weights: a file as timm or the authors publish it, or a folder with one; "" takes
                timm's weights, downloaded on first use; "random" is for trials.
            num_clusters: see the constructor.
            size: see the constructor.
            seed: of k-means and of random weights.
            device: of the model.

        Raises:
            ValueError: not a ViT of timm, or weights of another model.
            WeightFileError: a file that cannot be read.
            DownloadError: timm's weights are not cached and cannot be downloaded.
            FileNotFoundError: the weight file does not exist.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _create(model, pretrained=not weights)
        if weights == "random":
            _logger.warning("DINO has random weights (weights=random): its masks are meaningless")
        if weights not in ("", "random"):
            _load(network, weights, model)
        return cls(network.to(device), num_clusters=num_clusters, size=size, seed=seed)

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image, at most ``num_clusters``."""
        height, width = image.shape[:2]
        feats = self._patch_feats(image)
        grid_h, grid_w = feats.shape[:2]
        points = feats.flatten(0, 1)[None]
        ids = kmeans(points, self._num_clusters, seed=self._seed).ids[0].cpu().numpy()
        rows, columns = nearest_pixels(grid_h, height), nearest_pixels(grid_w, width)
        return masks_of_labels(ids.reshape(grid_h, grid_w)[rows[:, None], columns])

    @torch.inference_mode()
    def _patch_feats(self, image: np.ndarray) -> Tensor:
        """(h, w, C) patch features of the last layer, after its norm."""
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
    cached = find_timm_weights(name, remedy) if pretrained else {}
    try:
        with downloading(f"the weights of {name!r}", remedy):
            network = timm.create_model(
                name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **cached
            )
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"timm cannot build the ViT {name!r} ({reason}); choose one such as "
            "'vit_small_patch16_224.dino', or give a file of weights if downloading fails"
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
            + (f"their names are those of {method}; " if method else "")
            + "name the model they belong to, or give another file"
        ) from error
