"""Predicting for single images (the predictor of ``detectron2.engine.defaults``)."""

from typing import Any

import numpy as np
import torch

from ..checkpoint import DetectionCheckpointer
from ..config import CfgNode
from ..data import MetadataCatalog
from ..data import transforms as T
from ..modeling import build_model

__all__ = ["DefaultPredictor"]


class DefaultPredictor:
    """Predicts for one image.

    Attributes:
        cfg: a copy of the config.
        model: built from it, with ``MODEL.WEIGHTS`` loaded, in eval mode.
        metadata: of the first test dataset; missing without one.
        aug: resizes the shortest side to ``INPUT.MIN_SIZE_TEST``.
        input_format: channel order of the model's input.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build the model and load its weights.

        Raises:
            AssertionError: the weights are missing, or ``INPUT.FORMAT`` is neither RGB nor BGR.
        """
        self.cfg = cfg.clone()
        self.model = build_model(self.cfg)
        self.model.eval()
        if len(cfg.DATASETS.TEST):
            self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
        DetectionCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        size = cfg.INPUT.MIN_SIZE_TEST
        self.aug = T.ResizeShortestEdge([size, size], cfg.INPUT.MAX_SIZE_TEST)
        self.input_format = cfg.INPUT.FORMAT
        assert self.input_format in ("RGB", "BGR"), (
            f"INPUT.FORMAT={self.input_format!r}; set it to RGB or BGR."
        )

    @torch.no_grad()
    def __call__(self, original_image: np.ndarray) -> Any:
        """Predict.

        Args:
            original_image: (H, W, 3), BGR for any order of the model.

        Returns:
            The model's output for the image, at the original height and width.
        """
        height, width = original_image.shape[:2]
        image = original_image[:, :, ::-1] if self.input_format == "RGB" else original_image
        image = self.aug.get_transform(image).apply_image(image)
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
        inputs = {"image": torch.from_numpy(channels_first), "height": height, "width": width}
        return self.model([inputs])[0]
