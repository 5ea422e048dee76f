"""Masks from clusters of a DINO ViT's patch features."""

import logging

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from ovseg_d2.masks.labels import masks_of_labels, nearest_pixels
from ovseg_d2.masks.patch_features import PatchFeatures, load_patch_network
from ovseg_d2.ops import kmeans

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
        self._features = PatchFeatures(model, size=size)
        self._num_clusters = num_clusters
        self._seed = seed

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
        if weights == "random":
            _logger.warning("DINO has random weights (weights=random): its masks are meaningless")
        network = load_patch_network(model, weights, seed=seed, key="INPUT.MASKS.DINO.WEIGHTS")
        if not isinstance(network, VisionTransformer):
            raise ValueError(
                f"{model!r} is a {type(network).__name__}; choose a plain ViT, such as "
                "'vit_small_patch16_224.dino'"
            )
        return cls(network.to(device), num_clusters=num_clusters, size=size, seed=seed)

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image, at most ``num_clusters``."""
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
        feats = self._features(pixels[None].to(self._features.device))
        grid_h, grid_w = feats.shape[2:]
        points = feats.flatten(2).transpose(1, 2)
        ids = kmeans(points, self._num_clusters, seed=self._seed).ids[0].cpu().numpy()
        rows, columns = nearest_pixels(grid_h, height), nearest_pixels(grid_w, width)
        return masks_of_labels(ids.reshape(grid_h, grid_w)[rows[:, None], columns])
