"""Segmenter: an image and words in; a segmentation, heat maps or attention maps out.

from ovseg_d2.segmenter import Segmenter
segment = Segmenter()
segment("image.png", "red star, grass").save("output")
segment.heatmaps("image.png", "red star").save("output")
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image

from .clip.attention_maps import attention_at_pixels, attention_to_texts
from .config import load_config
from .d2.config import CfgNode
from .data.arrays import as_rgb
from .data.mappers import TestMapper
from .data.readers import read_image_of
from .data.shapes import unknown_words
from .engine.loading import load_model
from .image_errors import memory_for, need_memory
from .plugin import MaskCLIP
from .text import ClassTexts
from .viz import Heatmaps, Segmentation
from .vocab import Vocabulary, Words

__all__ = ["Segmentation", "Segmenter"]

_logger = logging.getLogger(__name__)
ImageInput = str | os.PathLike[str] | np.ndarray | torch.Tensor | Image.Image
Measure = Literal["probability", "cosine", "attention"]


class Segmenter:
    """A model that segments images with any words."""

    def __init__(
        self,
        config: str | os.PathLike[str] | CfgNode | None = None,
        *,
        opts: Sequence[str] = (),
    ) -> None:
        """Build the model of a config and load its weights.

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
        self._last: tuple[np.ndarray | None, str] = (None, "")  # pixels, and their file's name

    @overload
    def __call__(self, image: ImageInput, classes: Words | None = ...) -> Segmentation: ...

    @overload
    def __call__(
        self, image: Sequence[ImageInput], classes: Words | None = ...
    ) -> list[Segmentation]: ...

    def __call__(
        self, image: ImageInput | Sequence[ImageInput], classes: Words | None = None
    ) -> Segmentation | list[Segmentation]:
        """Segment one image, or several.

        Args:
            image: a file name, a Pillow image, an array or a tensor, see
                :func:`~.data.arrays.as_rgb`; or a list or tuple of them.
            classes: see :func:`~ovseg_d2.vocab.read_words`: words separated by commas, a list, a
                dict with synonyms, a file, or the name of a list; None takes the model's own.

        Returns:
            The segmentation at the image's size; a list of them for several images.

        Raises:
            ImageReadError: an image cannot be read, or needs more memory than is free.
            ValueError: no words or unusable words; an array or tensor of another shape, dtype or
                range.
        """
        vocabulary = self.choose_words(classes)
        if len(vocabulary) == 1 and not self._warned_of_one_class:
            self._warned_of_one_class = True
            _logger.warning(
                "%r is the only class, and so 100 %% of every image; name what else there is, such "
                "as 'background'",
                vocabulary.names[0],
            )
        if isinstance(image, list | tuple):
            return [self(item, vocabulary) for item in image]
        with memory_for(_name_of(image)):
            pixels = _read_rgb(image)
            batched_input = {**self._prepare(image, pixels), "classes": vocabulary}
            labels = self.model.segment([batched_input])[0].cpu().numpy()
            return Segmentation(pixels, labels, vocabulary, self._note)

    def heatmaps(self, image: ImageInput, classes: Words | None = None) -> Heatmaps:
        """Score every pixel of one image for every class, see `systems.MaskCLIP.heat_maps`.

        Arguments and errors are those of a call.

        Returns:
            Probabilities, or cosines for one class alone, at the image's size.

        Raises:
            ValueError: also if the model does not score pixels as MaskCLIP does.
        """
        if not isinstance(self.model, MaskCLIP):
            raise ValueError(
                f"MODEL.META_ARCHITECTURE {self.cfg.MODEL.META_ARCHITECTURE} has no heat maps; "
                "choose MaskCLIP"
            )
        vocabulary = self.choose_words(classes)
        measure: Measure = "probability" if len(vocabulary) > 1 else "cosine"
        return self._maps(image, vocabulary, measure, self.model.maskclip.heat_maps)

    def attention(self, image: ImageInput, classes: Words | None = None) -> Heatmaps:
        """Attention of the class token for each text, see `clip.attention_to_texts`.

        A class of several rows, see `TextBank.class_texts`, has the maximum over its rows. A text
        may be a caption. Arguments and errors are those of a call.

        Returns:
            The maps at the image's size.

        Raises:
            ValueError: also if the tower has no class token.
        """
        tower = self.model.text_bank.tower

        def attend(images: torch.Tensor, texts: ClassTexts, size: tuple[int, int]) -> torch.Tensor:
            grid = attention_to_texts(tower, tower.normalize(images), texts.embeds)
            return attention_at_pixels(tower, texts.best_of_words(grid), images, size)

        return self._maps(image, self.choose_words(classes), "attention", attend)

    def _maps(
        self,
        image: ImageInput,
        vocabulary: Vocabulary,
        measure: Measure,
        score: Callable[[torch.Tensor, ClassTexts, tuple[int, int]], torch.Tensor],
    ) -> Heatmaps:
        """Maps (K, H, W) from ``score``, of an image (1, 3, h, w), its texts and (H, W)."""
        with memory_for(_name_of(image)):
            pixels = _read_rgb(image)
            height, width = pixels.shape[:2]
            texts = self.model.text_bank.class_texts(vocabulary)
            num_words = len(texts.embeds)
            need_memory(
                4 * 4 * num_words * height * width,  # scores, scaled scores, probabilities, maps
                texts.embeds.device,
                f"the maps of {num_words} words at {width} x {height} pixels",
            )
            images = self.model.rgb_image(self._prepare(image, pixels))
            maps = score(images, texts, (height, width)).cpu().numpy()
            return Heatmaps(
                pixels, dict(zip(vocabulary.names, maps, strict=True)), measure, self._note
            )

    def _prepare(self, image: ImageInput, pixels: np.ndarray) -> dict[str, Any]:
        """The model's input for pixels (H, W, 3), with the file name if it is known."""
        if isinstance(image, str | os.PathLike):
            self._last = pixels, os.fspath(image)
        # The pixels of a segmentation, given again for heat maps, keep their file name.
        name = self._last[1] if pixels is self._last[0] else ""
        return {**self._mapper.prepare(pixels), "file_name": name}

    def choose_words(self, classes: Words | None) -> Vocabulary:
        """Return the vocabulary of a call; warn once of each word unknown to ShapesCLIP.

        The words are also embedded (and cached), so that a bad one is refused before an image is
        read.

        Raises:
            ValueError: no words, or unusable words.
        """
        vocabulary = self.model.vocabulary_of({"classes": classes})
        self.model.text_bank.class_texts(vocabulary)
        if self.cfg.MODEL.CLIP.NAME == "ShapesCLIP":
            prompt_word = self.model.text_bank.prompt_word
            unknown = unknown_words(
                prompt_word(word) for words in vocabulary.synonyms for word in words
            )
            unknown = [word for word in unknown if word not in self._warned_of]
            if unknown:
                self._warned_of.update(unknown)
                _logger.warning(
                    "ShapesCLIP has never seen %s: it knows coloured shapes and patterns on "
                    "grounds (red star, blue stripes, grass); for photographs name a larger CLIP, "
                    "such as MODEL.CLIP.NAME ViT-B-16 MODEL.CLIP.PRETRAINED openai",
                    ", ".join(repr(word) for word in unknown),
                )
        return vocabulary


def _read_rgb(image: ImageInput) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file, an array, a tensor or a Pillow image."""
    return read_image_of(image) if isinstance(image, str | os.PathLike) else as_rgb(image)


def _name_of(image: ImageInput) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else "the image given"
