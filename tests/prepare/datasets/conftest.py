"""Miniatures of the owners' archives: real inner paths, tiny images."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
