"""Masks from SAM's automatic mask generator and a checkpoint of the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ovseg_d2.weight_files import describe_method, read_state_dict

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

__all__ = ["SAM_MODELS", "SamMasks"]

# Model name -> width of the image encoder, which identifies a checkpoint.
SAM_MODELS = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
_WIDTH_OF = "image_encoder.pos_embed"


class SamMasks:
    """SAM's masks for a grid of points, largest first; they may overlap."""

    def __init__(self, model: Sam, **options: Any) -> None:
        """Set the model to eval mode.

        Args:
            model: on any device.
            **options: of segment-anything's ``SamAutomaticMaskGenerator``.
        """
        from segment_anything import SamAutomaticMaskGenerator

        self._generator = SamAutomaticMaskGenerator(model.eval(), **options)

    @classmethod
    def load(
        cls,
        *,
        checkpoint: str,
        model: str = "",
        device: str = "cpu",
        points_per_side: int = 32,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        crop_n_layers: int = 0,
        min_mask_region_area: int = 0,
    ) -> SamMasks:
        """Load a checkpoint.

        Args:
            checkpoint: a file of SAM's authors, such as sam_vit_h_4b8939.pth.
            model: vit_b, vit_l or vit_h; "" takes the checkpoint's.
            device: where the model runs.
            points_per_side: see segment-anything, also for the following options.
            pred_iou_thresh: masks of a lower predicted IoU are dropped.
            stability_score_thresh: masks that change more with the mask threshold are dropped.
            crop_n_layers: number of levels of crops that are processed as well.
            min_mask_region_area: pixels; smaller islands and holes are removed.

        Raises:
            FileNotFoundError: the checkpoint does not exist.
            ValueError: not a checkpoint of SAM, or one of another model.
            WeightFileError: a file that cannot be read.
        """
        from segment_anything import sam_model_registry

        weights = _read(checkpoint)
        name = _model_of(weights, checkpoint, model)
        network = sam_model_registry[name]()
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the checkpoint {checkpoint!r} is not a complete SAM {name} ({reason}); "
                "download it again"
            ) from error
        return cls(
            network.to(device),
            points_per_side=points_per_side,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            crop_n_layers=crop_n_layers,
            min_mask_region_area=min_mask_region_area,
        )

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image; Q may be 0."""
        entries = self._generator.generate(np.ascontiguousarray(image))
        entries = [entry for entry in entries if entry["area"] > 0]
        masks = np.zeros((len(entries), *image.shape[:2]), dtype=bool)
        for number, entry in enumerate(sorted(entries, key=lambda entry: -entry["area"])):
            masks[number] = entry["segmentation"]
        return masks


def _read(checkpoint: str | os.PathLike[str]) -> dict[str, Tensor]:
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no SAM checkpoint {str(checkpoint)!r}; download one from the authors' page "
            "of segment-anything"
        )
    content = read_state_dict(path)
    position = content.get(_WIDTH_OF)
    if not isinstance(position, Tensor) or position.ndim != 4:
        method = describe_method(content)
        raise ValueError(
            f"{str(checkpoint)!r} is not a checkpoint of SAM: it has no {_WIDTH_OF}"
            f"{f' and is of {method}' if method else ''}; give one of "
            f"{', '.join(SAM_MODELS)} (not of SAM 2, nor of a smaller copy)"
        )
    return content


def _model_of(weights: dict[str, Tensor], checkpoint: str, model: str) -> str:
    width = weights[_WIDTH_OF].shape[-1]
    found = next((name for name, known in SAM_MODELS.items() if known == width), None)
    if model and model not in SAM_MODELS:
        raise ValueError(f"model {model!r} is unknown; choose one of {', '.join(SAM_MODELS)}")
    if found is None:
        raise ValueError(
            f"the checkpoint {checkpoint!r} is of an image encoder {width} wide; give one of "
            f"{', '.join(f'{name} ({known})' for name, known in SAM_MODELS.items())}"
        )
    if model and model != found:
        raise ValueError(
            f"the checkpoint {checkpoint!r} is of {found} and model is {model!r}; name the "
            "checkpoint's model, or leave it out"
        )
    return found
