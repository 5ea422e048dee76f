"""Match nouns with masks by CLIP's embeddings of masked crops.

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
    """A noun and its best mask.

    Attributes:
        noun: the noun as given.
        mask: index of the mask.
        score: cosine of the mask's crop and the noun.
    """

    noun: str
    mask: int
    score: float


class MaskMatcher:
    """Finds the best of an image's masks for each noun.

    Paper: [ovseg] Sec. 3.2: CLIP pairs each noun of a caption with the proposal that matches it
    best. A mask may match several nouns, or none.
    """

    def __init__(self, classifier: OVSegClassifier, text_bank: TextBank) -> None:
        """Check that both use the same tower.

        Args:
            classifier: encodes masked crops; without prompts, as none are learnt yet.
            text_bank: embeds nouns with the same tower.

        Raises:
            ValueError: the tower of ``text_bank`` is another one.
        """
        if text_bank.tower is not classifier.prompted.tower:
            raise ValueError(
                "text_bank uses another tower; make it with TextBank(classifier.prompted.tower, "
                "...)"
            )
        self._classifier = classifier
        self._text_bank = text_bank

    @torch.no_grad()
    def remember(self, nouns: Sequence[str]) -> None:
        """Encode the nouns of several images at once, into the cache of the text bank."""
        unique = sorted(set(nouns))
        if unique:
            self._text_bank.embed(unique)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, masks: np.ndarray, nouns: Sequence[str]) -> list[Match]:
        """Match nouns with masks.

        Args:
            image: (H, W, 3) uint8 RGB.
            masks: (Q, H, W) bool; empty masks match nothing.
            nouns: N different nouns.

        Returns:
            One match per noun, in order; [] if all masks are empty.

        Raises:
            ValueError: the masks have another size than the image.
        """
        device = self._classifier.prompted.tower.device
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        pixels = pixels.to(device, torch.float32)
        candidates = torch.from_numpy(np.ascontiguousarray(masks)).to(device)
        mask_embeds, valid = self._classifier.embed_masks(pixels, candidates)
        if len(mask_embeds) == 0 or not nouns:
            return []
        text_embeds = self._text_bank.embed(list(nouns)).to(mask_embeds)
        best = (text_embeds @ mask_embeds.t()).max(dim=1)  # over the masks of (N, Q)
        numbers = valid.nonzero()[:, 0][best.indices]
        return [
            Match(noun, number, score)
            for noun, number, score in zip(
                nouns, numbers.tolist(), best.values.tolist(), strict=True
            )
        ]
