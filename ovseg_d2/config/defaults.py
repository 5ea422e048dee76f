"""All keys together, and the defaults of detectron2 that change."""

import torch

from ..d2.config import CfgNode
from ..d2.projects.deeplab import add_deeplab_config
from .clip import add_clip_keys
from .data import add_data_keys
from .methods import add_method_keys
from .runs import add_run_keys

__all__ = ["add_ovseg_config", "resolve_device"]


def add_ovseg_config(cfg: CfgNode) -> None:
    """Add the plugin's keys to a config of detectron2.

    Args:
        cfg: what ``get_cfg()`` gives; changed in place.
    """
    # Keys of detectron2's DeepLab project: the ResNet with the stem of three convolutions.
    add_deeplab_config(cfg)
    add_clip_keys(cfg.MODEL)
    add_method_keys(cfg.MODEL)
    add_data_keys(cfg)
    add_run_keys(cfg)

    # Defaults of detectron2 that differ here.
    cfg.SEED = 0  # every run can be repeated
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.META_ARCHITECTURE = "MaskCLIP"
    cfg.INPUT.MIN_SIZE_TEST = 0  # pixels of the shorter side; 0 keeps the picture's size
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False  # grouping makes batches depend on the workers
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.DEVICE = resolve_device("auto")


def resolve_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one and ``cpu`` elsewhere; all else stays.

    Raises:
        ValueError: no name of a device.
    """
    if isinstance(name, str) and name.lower() == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name if isinstance(name, str) else "")
    except RuntimeError as error:
        raise ValueError(
            f"MODEL.DEVICE {name!r} is no device; write auto, cpu, cuda or cuda:N"
        ) from error
    return name
