"""`Segmentation`: an image and the class of each pixel, with its overlay and files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ovseg_d2.files import write_atomically
from ovseg_d2.ops import class_shares
from ovseg_d2.viz.heatmap import Heatmaps
from ovseg_d2.viz.label_file import save_labels
from ovseg_d2.viz.overlay import draw_overlay
from ovseg_d2.vocab import Vocabulary

__all__ = ["Segmentation"]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """An image and the class of each pixel; ``==`` compares all attributes.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int64, indices into ``vocabulary``.
        vocabulary: the classes.
        note: a sentence for the overlay and the JSON file, such as that weights are random.
    """

    image: np.ndarray
    labels: np.ndarray
    vocabulary: Vocabulary
    note: str = ""

    def __eq__(self, other: object) -> bool:
        """Compare image, labels, words and note."""
        if not isinstance(other, Segmentation):
            return NotImplemented
        return (
            (self.vocabulary, self.note) == (other.vocabulary, other.note)
            and np.array_equal(self.labels, other.labels)
            and np.array_equal(self.image, other.image)
        )

    @property
    def shares(self) -> dict[str, float]:
        """Class name -> share of the pixels in (0, 1], largest first; absent classes left out."""
        shares = class_shares(torch.from_numpy(self.labels), len(self.vocabulary)).tolist()
        pairs = sorted(zip(shares, self.vocabulary.names, strict=True), key=lambda pair: -pair[0])
        return {name: share for share, name in pairs if share > 0}

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool, the pixels of a class."""
        return self.labels == self.vocabulary.index(name)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The image tinted by class, with a legend."""
        return draw_overlay(
            self.image,
            self.labels,
            self.vocabulary,
            alpha=alpha,
            ignore_label=None,
            note=self.note,
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        name: str = "segmentation",
        *,
        heatmaps: Heatmaps | None = None,
        attention: Heatmaps | None = None,
    ) -> dict[str, Path]:
        """Write ``<name>_overlay.png``, ``<name>_labels.png`` and ``<name>.json``.

        Args:
            folder: created if missing.
            name: start of the file names.
            heatmaps: written next to them, with a summary in the JSON file.
            attention: written in the same way.

        Returns:
            ``overlay``, ``labels`` and ``json`` -> path, and ``heat map of <word>`` and
            ``attention of <word>`` if given. Each file is written whole or not at all.

        Raises:
            WriteError: a file cannot be written.
        """
        folder = Path(folder)
        paths = {
            "overlay": folder / f"{name}_overlay.png",
            "labels": folder / f"{name}_labels.png",
            "json": folder / f"{name}.json",
        }
        with write_atomically(paths["overlay"]) as file:
            self.overlay().save(file, format="PNG")
        save_labels(paths["labels"], self.labels, num_classes=len(self.vocabulary))
        summary: dict[str, Any] = {
            **({"note": self.note} if self.note else {}),
            "height": self.labels.shape[0],
            "width": self.labels.shape[1],
            "classes": list(self.vocabulary.names),
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
        }
        kinds = {"heatmaps": ("heat map", heatmaps), "attention": ("attention", attention)}
        for key, (kind, maps) in kinds.items():
            if maps is not None:
                saved = maps.save(folder, name)
                paths |= {f"{kind} of {word}": path for word, path in saved.items()}
                summary[key] = maps.summary(name)
        with write_atomically(paths["json"], "w") as file:
            json.dump(summary, file, indent=2)
            file.write("\n")
        return paths
