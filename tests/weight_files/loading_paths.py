"""Every path of the package and its tools that loads weights from a file."""

import runpy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ovseg_d2.clip import load_clip, load_prompted_tower, read_clip
from ovseg_d2.config import load_config
from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.masks import DinoClusters, SamMasks
from ovseg_d2.nets.timm_features import build_timm_features
from ovseg_d2.plugin import build_tower
from ovseg_d2.prepare.proposal_masks import ProposalMasks
from ovseg_d2.segmenter import Segmenter

__all__ = ["PATHS", "Net"]

ROOT = Path(__file__).resolve().parents[2]


class Net(nn.Module):
    """Stands in for a model that is slow to build."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def propose(self) -> None:
        """Make the model propose masks."""


def _resume(path: Path) -> None:
    (path.parent / "last_checkpoint").write_text(path.name)
    Checkpointer(Net(), str(path.parent)).resume_or_load("", resume=True)


def _convert(path: Path, *options: str) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "convert_weights.py"))
    tool["main"]([*options, "--weights", str(path), "--output", str(path.with_suffix(".out"))])


def _detectron2(path: Path) -> None:
    """Build the model, then load with detectron2's checkpointer, as DefaultPredictor does."""
    cfg = load_config(None, ["MODEL.WEIGHTS", str(path)])
    model = build_model(cfg) if HAS_DETECTRON2 else Net()
    DetectionCheckpointer(model).load(str(path))


PATHS: dict[str, Callable[[Path], object]] = {
    "load_clip": lambda path: load_clip("ShapesCLIP", path),
    "MODEL.CLIP.PRETRAINED": lambda path: build_tower(
        load_config(None, ["MODEL.CLIP.PRETRAINED", str(path)])
    ),
    "MODEL.CLIP.IMAGE_WEIGHTS": lambda path: load_clip("ShapesCLIP", image_weights=path),
    "MODEL.OVSEG.CLIP_WEIGHTS": lambda path: load_prompted_tower(Net(), path),
    "read_clip": read_clip,
    "MODEL.WEIGHTS": lambda path: Checkpointer(Net()).load(str(path)),
    "with a query": lambda path: Checkpointer(Net()).load(f"{path}?matching_heuristics=True"),
    "last_checkpoint": _resume,
    "DefaultPredictor": _detectron2,
    "Segmenter": lambda path: Segmenter(opts=["MODEL.WEIGHTS", str(path)]),
    "generate_masks --source maskformer": lambda path: ProposalMasks.load(weights=str(path)),
    "generate_masks --source sam": lambda path: SamMasks.load(checkpoint=str(path)),
    "generate_masks --source dino": lambda path: DinoClusters.load(
        model="test_vit", weights=str(path)
    ),
    "MODEL.TIMM.PRETRAINED": lambda path: build_timm_features("test_resnet", pretrained=path),
    "convert_weights --model": lambda path: _convert(path, "--model", "ShapesCLIP"),
    "convert_weights --release": lambda path: _convert(path, "--release", "ovseg"),
}
