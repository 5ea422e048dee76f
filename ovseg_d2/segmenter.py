"""Segmenter: an image and words in, a segmentation out, or a heat map of each word.

from ovseg_d2.segmenter import Segmenter
segment = Segmenter()
segment("picture.png", "red star, grass").save("output")
segment.heatmaps("picture.png", "red star").save("output")
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

from .clip import attention_to_texts
from .config import load_config
from .d2.config import CfgNode
from .data.arrays import as_rgb
from .data.mappers import TestMapper
from .data.readers import read_picture
from .data.shapes import unknown_words
from .engine.loading import load_model
from .files import write_atomically
from .image_errors import memory_for, need_memory
from .ops import class_shares, upsample_scores
from .systems import MaskCLIP
from .text import ClassTexts
from .viz import Heatmaps, draw_overlay, save_labels
from .vocab import Vocabulary, Words

__all__ = ["Segmentation", "Segmenter"]

_logger = logging.getLogger(__name__)
Picture = str | os.PathLike[str] | np.ndarray | torch.Tensor | Image.Image


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A picture and the class of each of its pixels; equal where all attributes are.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) int64, indices into ``vocabulary``.
        vocabulary: the words it was segmented with.
        note: a sentence that the overlay and the JSON file show, such as that weights are random.
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
        """Class name -> share of the pixels, 0 to 1, of the classes found, largest first."""
        shares = class_shares(torch.from_numpy(self.labels), len(self.vocabulary)).tolist()
        found = sorted(zip(shares, self.vocabulary.names, strict=True), key=lambda pair: -pair[0])
        return {name: share for share, name in found if share > 0}

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool, where a class is."""
        return self.labels == self.vocabulary.index(name)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The picture tinted by class, with a legend."""
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
            folder: made where it is not there.
            name: of the picture.
            heatmaps: saved beside them, and summed up in the JSON file.
            attention: likewise.

        Returns:
            ``overlay``, ``labels`` and ``json`` -> path, and ``heat map of <word>`` and
            ``attention of <word>`` where they are given. Each file appears whole or not at all.

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
        summary = self._summary()
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

    def _summary(self) -> dict[str, Any]:
        shares = {name: round(share, 6) for name, share in self.shares.items()}
        return {
            **({"note": self.note} if self.note else {}),
            "height": self.labels.shape[0],
            "width": self.labels.shape[1],
            "classes": list(self.vocabulary.names),
            "shares": shares,
        }


class Segmenter:
    """A built model that segments pictures with any words."""

    def __init__(
        self,
        config: str | os.PathLike[str] | CfgNode | None = None,
        *,
        opts: Sequence[str] = (),
    ) -> None:
        """Build the model a config describes and load its weights.

        Args:
            config: a config file, a config, or None for MaskCLIP on ShapesCLIP.
            opts: further keys and values, as on a command line.

        Raises:
            ValueError: a wrong key or value, or weights that do not fit
                (:func:`~.engine.loading.load_model`).
            FileNotFoundError: a file does not exist.
        """
        if isinstance(config, CfgNode):
            if opts:
                raise ValueError(f"opts={list(opts)!r} go with a config file; change the config")
            cfg = config
        else:
            cfg = load_config(None if config is None else Path(config), opts)
        self.cfg = cfg
        self.model, self._note = load_model(cfg)
        self._mapper = TestMapper.from_config(cfg)
        self._warned_of: set[str] = set()
        self._warned_of_one_class = False
        self._last: tuple[np.ndarray | None, str] = (None, "")  # image, and its file name

    @overload
    def __call__(self, picture: Picture, classes: Words | None = ...) -> Segmentation: ...

    @overload
    def __call__(
        self, picture: Sequence[Picture], classes: Words | None = ...
    ) -> list[Segmentation]: ...

    def __call__(
        self, picture: Picture | Sequence[Picture], classes: Words | None = None
    ) -> Segmentation | list[Segmentation]:
        """Segment one image, or several.

        Args:
            picture: a file name, an image of Pillow, an array or a tensor, see
                :func:`~.data.arrays.as_rgb`; or a list or tuple of them.
            classes: as :func:`~ovseg_d2.vocab.read_words` takes them: words separated by commas, a
                list, a dict with synonyms, a file, the name of a list; None takes the model's own.

        Returns:
            The segmentation, at the image's size; of several images a list of them.

        Raises:
            ImageReadError: an image cannot be read, or needs more memory than there is.
            ValueError: no words, or words that cannot be used; an array or tensor of another shape,
                dtype or range.
        """
        vocabulary = self.choose_words(classes)
        if len(vocabulary) == 1 and not self._warned_of_one_class:
            self._warned_of_one_class = True
            _logger.warning(
                "%r is the only class, and so 100 %% of every image; name what else there is, such "
                "as 'background'",
                vocabulary.names[0],
            )
        if isinstance(picture, list | tuple):
            return [self(each, vocabulary) for each in picture]
        with memory_for(_name_of(picture)):
            image = _read_rgb(picture)
            batched_input = {**self._prepare(picture, image), "classes": vocabulary}
            labels = self.model.segment([batched_input])[0].cpu().numpy()
            return Segmentation(image, labels, vocabulary, self._note)

    def heatmaps(self, picture: Picture, classes: Words | None = None) -> Heatmaps:
        """Say how much each pixel of a picture looks like each word.

        Of several words it is the probability: the softmax over all words, at the logit scale of
        the model, of the cosines of pixel and words. Of one word alone, which no other competes
        with, it is the cosine. Of a class's synonyms the best counts where the model keeps them
        apart. Refinement and background, which change labels, leave these maps as they are.

        Args:
            picture: as for a segmentation.
            classes: likewise.

        Returns:
            The maps, at the picture's size.

        Raises:
            ImageReadError: the picture cannot be read.
            ValueError: as for a segmentation, or a model that does not score pixels as MaskCLIP.
        """
        system = getattr(self.model, "maskclip", None)
        if not isinstance(system, MaskCLIP):
            raise ValueError(
                f"MODEL.META_ARCHITECTURE {self.cfg.MODEL.META_ARCHITECTURE} has no heat maps; "
                "choose MaskCLIP"
            )
        vocabulary = self.choose_words(classes)
        with memory_for(_name_of(picture)):
            image = _read_rgb(picture)
            plain = MaskCLIP(
                system.tower,
                last_block=system.last_block,
                window=system.window,
                stride=system.stride,
                official=system.official,
            )
            texts = self.model.text_bank.class_texts(vocabulary)
            _need_map_memory(len(texts.embeds), image, texts.embeds.device)
            pixels = self.model.rgb_image(self._prepare(picture, image))
            scores = plain.score_pixels(pixels, ClassTexts(texts.embeds), image.shape[:2])[
                0
            ]  # (R, H, W)
            if len(vocabulary) > 1:
                scale = system.logit_scale or system.tower.logit_scale.detach().float()
                scores = (scores * scale).softmax(dim=0)
            scores = texts.best_of_words(scores).cpu().numpy()
            measure = "probability" if len(vocabulary) > 1 else "cosine"
            return Heatmaps(
                image, dict(zip(vocabulary.names, scores, strict=True)), measure, self._note
            )

    def attention(self, picture: Picture, classes: Words | None = None) -> Heatmaps:
        """Say where a picture as a whole looks for the sake of each word, or of each caption.

        See :func:`~ovseg_d2.clip.attention_to_texts`. Of a class's synonyms the most that any of
        them is paid counts, where the model keeps them apart.

        Args:
            picture: as for a segmentation.
            classes: likewise; a caption is a word like any other.

        Returns:
            The maps, at the picture's size.

        Raises:
            ImageReadError: the picture cannot be read.
            ValueError: as for a segmentation, or a tower that reads no class token.
        """
        vocabulary = self.choose_words(classes)
        with memory_for(_name_of(picture)):
            image = _read_rgb(picture)
            tower = self.model.text_bank.tower
            pixels = self.model.rgb_image(self._prepare(picture, image))
            texts = self.model.text_bank.class_texts(vocabulary)
            _need_map_memory(len(texts.embeds), image, texts.embeds.device)
            maps = attention_to_texts(tower, tower.normalize(pixels), texts.embeds)
            maps = texts.best_of_words(maps)
            patch_h, patch_w = tower.patch_size
            padded = (maps.shape[1] * patch_h, maps.shape[2] * patch_w)
            seen = (pixels.shape[-2], pixels.shape[-1])
            maps = upsample_scores(maps, padded, seen, image.shape[:2]).cpu().numpy()
            return Heatmaps(
                image, dict(zip(vocabulary.names, maps, strict=True)), "attention", self._note
            )

    def _prepare(self, picture: Picture, image: np.ndarray) -> dict[str, Any]:
        """The model's input of an image, with its file name where it has one."""
        if isinstance(picture, str | os.PathLike):
            self._last = image, os.fspath(picture)
        # The image of a segmentation, given again for its heat maps, keeps its name.
        name = self._last[1] if image is self._last[0] else ""
        return {**self._mapper.prepare(image), "file_name": name}

    def choose_words(self, classes: Words | None) -> Vocabulary:
        """The vocabulary of a call; warns, once each, of words the small model has never seen.

        The words are embedded here, and remembered, so that a bad one is refused before any
        picture is looked at.

        Raises:
            ValueError: no words, or words that cannot be used.
        """
        vocabulary = self.model.vocabulary_of({"classes": classes})
        self.model.text_bank.class_texts(vocabulary)
        if self.cfg.MODEL.CLIP.NAME == "ShapesCLIP":
            strange = unknown_words(word for words in vocabulary.synonyms for word in words)
            strange = [word for word in strange if word not in self._warned_of]
            if strange:
                self._warned_of.update(strange)
                _logger.warning(
                    "ShapesCLIP has never seen %s: it knows coloured shapes and patterns on "
                    "grounds (red star, blue stripes, grass); for photographs name a larger CLIP, "
                    "such as MODEL.CLIP.NAME ViT-B-16 MODEL.CLIP.PRETRAINED openai",
                    ", ".join(repr(word) for word in strange),
                )
        return vocabulary


def _need_map_memory(num_words: int, image: np.ndarray, device: torch.device) -> None:
    """Refuse maps of so many words at an image's size that memory does not suffice for."""
    height, width = image.shape[:2]
    need_memory(
        4 * 4 * num_words * height * width,  # scores, scaled scores, probabilities, maps
        device,
        f"the maps of {num_words} words at {width} x {height} pixels",
    )


def _read_rgb(picture: Picture) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or of what is in memory."""
    return read_picture(picture) if isinstance(picture, str | os.PathLike) else as_rgb(picture)


def _name_of(picture: Picture) -> str:
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else "the image given"
