"""Miniatures of the owners' archives: real inner paths, tiny images."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import train_net
from PIL import Image

from ovseg_d2.config import load_config

PAPER = Path(__file__).resolve().parents[3] / "configs" / "paper"


class Miniature:
    """Folders of a test, and the files to put into its archives."""

    def __init__(self, folder: Path) -> None:
        self.root, self.downloads = folder / "root", folder / "downloads"
        self.downloads.mkdir()

    def pack(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Write an archive of the kind that its name says."""
        path = self.downloads / name
        if name.endswith(".zip"):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for inner, content in files.items():
                    archive.writestr(inner, content)
            return path
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
            for inner, content in files.items():
                info = tarfile.TarInfo(inner)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    def unpack(self, files: Mapping[str, bytes], folder: str = "") -> None:
        """Write files below the root."""
        for inner, content in files.items():
            path = self.root / folder / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def labels(self, file: str) -> np.ndarray:
        """Values of a label file below the root, as Pillow reads them."""
        with Image.open(self.root / file) as image:
            return np.asarray(image)

    @staticmethod
    def jpg(height: int = 4, width: int = 6) -> bytes:
        """A grey photograph."""
        stream = io.BytesIO()
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(stream, "JPEG")
        return stream.getvalue()

    @staticmethod
    def png(labels: object, palette: bool = False) -> bytes:
        """A label file."""
        image = Image.fromarray(np.asarray(labels, np.uint8))
        if palette:
            image.putpalette(np.random.default_rng(0).bytes(768))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()


@pytest.fixture
def mini(tmp_path: Path) -> Miniature:
    """An empty root and an empty folder of downloads."""
    return Miniature(tmp_path)


@pytest.fixture
def evaluate_prepared(
    mini: Miniature, tiny_opts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, float]]:
    """Give a function from a prepared dataset to its results: tools/train_net.py --eval-only.

    The config is a published one that has the dataset: SCLIP's, that of CLIP for captions, or
    OVSeg's; networks are tiny.
    """
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini.root))
    small = [*tiny_opts, "INPUT.MIN_SIZE_TEST", "24", "MODEL.TEXT.TEMPLATES", "['{}']"]
    small += ["MODEL.MASKCLIP.WINDOW", "16", "MODEL.MASKCLIP.STRIDE", "8"]
    small += ["DATALOADER.NUM_WORKERS", "0", "OUTPUT_DIR", str(tmp_path / "output")]
    sizes = {"QUERIES": 6, "CONV_CHANNELS": 32, "MASK_CHANNELS": 8, "DIM": 16, "LAYERS": 1}
    sizes |= {"HEADS": 2, "HIDDEN_DIM": 16, "EMBED_HIDDEN_DIM": 16}
    ovseg = [str(word) for k, v in sizes.items() for word in (f"MODEL.OVSEG.MASKFORMER.{k}", v)]
    ovseg += ["MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"]
    ovseg += ["MODEL.TIMM.OUT_INDICES", "[1, 2]", "MODEL.TIMM.DETECTOR_SWIN", "False"]
    ovseg += ["MODEL.TIMM.PRETRAINED", "", "MODEL.OVSEG.PROMPT_DEPTH", "1"]
    ovseg += ["MODEL.WEIGHTS", "random"]

    def evaluate(name: str) -> dict[str, float]:
        patterns = "sclip_*.yaml", "masked_distill_clip_*_clip.yaml", "ovseg_swinb_vitl14.yaml"
        files = (path for pattern in patterns for path in sorted(PAPER.glob(pattern)))
        file = next(f for f in files if name in load_config(f).DATASETS.TEST)
        opts = [*small, *(ovseg if file.name.startswith("ovseg") else [])]
        opts += ["DATASETS.TEST", f"('{name}',)"]
        train_net.main(["--eval-only", "--config-file", str(file), *opts])
        return json.loads((tmp_path / "output" / "results.json").read_text())[name]

    return evaluate
