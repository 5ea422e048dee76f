"""MaskCLIP's two refinements of scores on a patch grid: prompt denoising, then key smoothing.

Shape shorthand: B images, K classes, C channels of the keys, h x w patches, N = h*w locations. The
order of locations does not matter: the grids of several windows, concatenated along h, are refined
as one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["REMOVED_SCORE", "Refinement", "denoise_prompts", "refine_scores", "smooth_by_keys"]

# The score of a removed class, from the release: below any cosine, and finite, because
# interpolation would make NaN of infinity.
REMOVED_SCORE = -100.0


@dataclass(frozen=True)
class Refinement:
    """Thresholds of the two refinements; None leaves one out.

    Attributes:
        prompt_denoising: classes that reach this probability nowhere in an image are removed from
            it, 0.5 in [maskclip].
        key_smoothing: locations whose best class is less probable than this are scored by all
            locations with similar keys, 1.0 in [maskclip]: all locations.

    Raises:
        ValueError: a threshold outside [0, 1].
    """

    prompt_denoising: float | None = None
    key_smoothing: float | None = None

    def __post_init__(self) -> None:
        """Check that both thresholds are in [0, 1]."""
        for name in ("prompt_denoising", "key_smoothing"):
            value = getattr(self, name)
            if value is not None:
                _check_threshold(value, name)


def refine_scores(
    scores: Tensor,
    keys: Tensor | None,
    refinement: Refinement,
    scale: float | Tensor,
    *,
    official: bool = False,
) -> Tensor:
    """Run `denoise_prompts`, then `smooth_by_keys`, as the refinement's thresholds say.

    Args:
        scores: (B, K, h, w) cosines.
        keys: (B, C, h, w); None without key smoothing.
        refinement: the thresholds.
        scale: the tower's logit scale.
        official: follow the release in both.

    Returns:
        (B, K, h, w): cosines (removed classes at `REMOVED_SCORE`), or scores of `smooth_by_keys`.

    Raises:
        ValueError: as the two functions, or smoothing without keys.
    """
    if refinement.prompt_denoising is not None:
        scores = denoise_prompts(scores, scale, refinement.prompt_denoising, official=official)
    if refinement.key_smoothing is None:
        return scores
    if keys is None:
        raise ValueError(
            f"key_smoothing is {refinement.key_smoothing} and keys is None; give the keys of the "
            "last attention, or set key_smoothing to None"
        )
    probs = (scores * scale).softmax(dim=1)
    return smooth_by_keys(probs, keys, refinement.key_smoothing, official=official)


def denoise_prompts(
    scores: Tensor, scale: float | Tensor, threshold: float = 0.5, *, official: bool = False
) -> Tensor:
    """Remove the classes that no location of an image is confident of.

    Paper: [maskclip] Sec. 3.2, prompt denoising: a class is removed from an image if its
    confidence max_i softmax_k(scale * s_ki) is below 0.5.
    Departs: if every class of an image would be removed, all stay. The release removes them, so
    that all classes tie; ``official`` does too.

    Args:
        scores: (B, K, h, w) cosines.
        scale: the tower's logit scale, 100 for the released CLIPs; the threshold applies to
            probabilities, so a tower of another temperature needs another threshold.
        threshold: confidence in [0, 1] that one location must reach; 0 removes no class.
        official: follow the release.

    Returns:
        (B, K, h, w): the scores, with `REMOVED_SCORE` for classes removed from their image.

    Raises:
        ValueError: scores of another shape or type, or a threshold outside [0, 1].
    """
    _check_grid("scores", scores)
    _check_threshold(threshold)
    confidence = (scores * scale).softmax(dim=1).amax(dim=(2, 3))  # (B, K)
    removed = confidence < threshold
    if not official:
        removed = removed & ~removed.all(dim=1, keepdim=True)
    return scores.masked_fill(removed[:, :, None, None], REMOVED_SCORE)


def smooth_by_keys(
    probs: Tensor, keys: Tensor, threshold: float = 1.0, *, official: bool = False
) -> Tensor:
    """Average the predictions of locations with similar keys.

    Paper: [maskclip] Eq. (5): pred_i = sum_j cos(k_i, k_j) pred_j. (As printed the last index is
    i, which would change no prediction.) The weights are plain cosines: clamped at zero, other
    classes would win; divided by the sum of a row, which may be zero or negative, a prediction
    could be inverted.
    Departs: the sum is divided by N, which changes no label and keeps smoothed scores in [-1, 1],
    comparable with the probabilities of locations that are not smoothed.

    With ``official`` the sum is not divided, and every channel of the keys is normalised over the
    locations (a slip of the release: dimension 1 of a (B, N, C) tensor), so that the weights are
    not cosines; and locations with a probability that rounds to 1 are not smoothed at threshold 1.

    The N x N weights are never in memory: sum_j (k_i . k_j) pred_j = k_i . (sum_j k_j pred_j), so
    memory grows with C * K.

    Args:
        probs: (B, K, h, w) softmax over the classes of the scaled scores, after any denoising.
        keys: (B, C, h, w) of the last attention, raw, any length.
        threshold: locations whose best class reaches it are not smoothed; 1 smooths all.
        official: follow the release.

    Returns:
        (B, K, h, w) scores of the probabilities' dtype; their sum over classes is arbitrary.

    Raises:
        ValueError: another shape or type, grids that differ, or a threshold outside [0, 1].
    """
    _check_grid("probs", probs)
    _check_grid("keys", keys)
    if probs.shape[0] != keys.shape[0] or probs.shape[2:] != keys.shape[2:]:
        raise ValueError(
            f"probs {tuple(probs.shape)} and keys {tuple(keys.shape)} must agree in batch and "
            "grid; take both from the same images"
        )
    _check_threshold(threshold)
    preds = at_least_float32(probs.flatten(2))  # (B, K, N), sums over a thousand locations
    with torch.autocast(probs.device.type, enabled=False):
        unit_keys = F.normalize(keys.flatten(2).to(preds), dim=2 if official else 1)  # (B, C, N)
        smoothed = torch.einsum("bkn,bcn->bkc", preds, unit_keys) @ unit_keys
    if official:
        keeps = preds.amax(dim=1, keepdim=True) >= threshold
    else:
        smoothed = smoothed / preds.shape[2]
        keeps = (preds.amax(dim=1, keepdim=True) >= threshold) & (threshold < 1)
    return torch.where(keeps, preds, smoothed).to(probs.dtype).unflatten(2, probs.shape[2:])


def _check_grid(name: str, values: Tensor) -> None:
    if values.dim() != 4 or 0 in values.shape[1:] or not values.is_floating_point():
        raise ValueError(
            f"{name} have shape {tuple(values.shape)} and dtype {values.dtype}; give (B, K, h, w) "
            "of a floating type, none of K, h, w zero"
        )


def _check_threshold(threshold: float, name: str = "threshold") -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"{name} is {threshold}; it is a probability, give one in [0, 1]")
