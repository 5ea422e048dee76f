"""The masks that match nouns: CLIP looks at each masked crop.

Shape shorthand: Q masks, N nouns, D joint embedding, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ovseg_d2.systems import OVSegClassifier
from ovseg_d2.text import TextBank

__all__ = ["MaskMatcher", "Match"]


@dataclass(frozen=True)
class Match:
    """A noun and the mask that it fits best.

    Attributes:
        noun: as it was given.
        mask: number of the mask.
        score: cosine of the mask's crop and the noun.
    """

    noun: str
    mask: int
    score: float


class MaskMatcher:
    """Find the best of an image's masks for each noun.

    Paper: [ovseg] Sec. 3.2: CLIP pairs the nouns of a caption with the proposals, each noun with
    the one that matches it best. A mask may be taken by several nouns, or by none.
    """

    def __init__(self, classifier: OVSegClassifier, text_bank: TextBank) -> None:
        """Keep the parts.

        Args:
            classifier: cuts masks out and encodes them; without prompts, for none are learnt yet.
            text_bank: on the same tower.

        Raises:
            ValueError: a bank on another tower.
        """
        if text_bank.tower is not classifier.prompted.tower:
            raise ValueError(
                "text_bank belongs to another tower; make it with TextBank(classifier.prompted"
                ".tower, ...)"
            )
        self._classifier = classifier
        self._text_bank = text_bank

    @torch.no_grad()
    def remember(self, nouns: Sequence[str]) -> None:
        """Encode nouns that will be asked for, all at once."""
        unique = sorted(set(nouns))
        if unique:
            self._text_bank.embed(unique)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, masks: np.ndarray, nouns: Sequence[str]) -> list[Match]:
        """Match nouns with masks.

        Args:
            image: (H, W, 3) uint8 RGB.
            masks: (Q, H, W) bool; empty ones match nothing.
            nouns: N of them, all different.

        Returns:
            One match for each noun, in order; none where no mask has a pixel.

        Raises:
            ValueError: masks of another size than the image.
        """
        device = self._classifier.prompted.tower.device
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        pixels = pixels.to(device, torch.float32)
        candidates = torch.from_numpy(np.ascontiguousarray(masks)).to(device)
        mask_embeds, valid = self._classifier.embed_masks(pixels, candidates)
        if len(mask_embeds) == 0 or not nouns:
            return []
        text_embeds = self._text_bank.embed(list(nouns)).to(mask_embeds)
        best = (text_embeds @ mask_embeds.t()).max(dim=1)  # (N, Q) over the masks
        numbers = valid.nonzero()[:, 0][best.indices]
        return [
            Match(noun, number, score)
            for noun, number, score in zip(
                nouns, numbers.tolist(), best.values.tolist(), strict=True
            )
        ]
