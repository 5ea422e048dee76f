"""MaskCLIP's two refinements of scores on a patch grid: prompt denoising, then key smoothing.

Shape shorthand: B images, K classes, C channels of the keys, h x w patches, N = h*w locations.
A location may be any: where an image is seen through several windows, put their grids behind one
another along h, and both functions look at the image as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["REMOVED_SCORE", "denoise_prompts", "smooth_by_keys"]

# What a removed class scores, the release's value: below any cosine, and finite, for interpolation
# would make NaN of infinity.
REMOVED_SCORE = -100.0


def denoise_prompts(
    scores: Tensor, scale: float | Tensor, threshold: float = 0.5, *, official: bool = False
) -> Tensor:
    """Remove the classes that no location of an image is confident of.

    Paper: [maskclip] Sec. 3.2, prompt denoising: a class is left out of an image where its
    confidence max_i softmax_k(scale * s_ki) stays below 0.5.
    Departs: where every class of an image would go, all stay: nothing is known then. The release
    removes them, so that all classes tie; ``official`` does.

    Args:
        scores: (B, K, h, w) cosines.
        scale: the tower's logit scale, 100 for the released CLIPs; the threshold is one on
            probabilities, so a tower of another temperature needs its own.
        threshold: confidence in [0, 1] that one location must reach; 0 removes nothing.
        official: as the release does it.

    Returns:
        (B, K, h, w): the scores, and `REMOVED_SCORE` wherever a class was removed from its image.

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
    """Let locations with similar keys agree.

    Paper: [maskclip] Eq. (5): pred_i = sum_j cos(k_i, k_j) pred_j. (As printed the last index is
    i, which would change no prediction.) The weights are the cosines as they are: clamped at zero,
    other classes would win; divided by the sum of a row, which may be zero or negative, a
    prediction could turn into its opposite.
    Departs: the sum is divided by N, alike everywhere, which changes no label; so smoothed scores
    stay in [-1, 1] beside the probabilities of locations that keep their own.

    With ``official`` it is the release: the sum undivided, and each channel of the keys normalised
    over the locations (a slip: dimension 1 of a (B, N, C) tensor), so that the weights are no
    cosines. There, a probability that rounds to 1 keeps its own at threshold 1, too.

    The N x N weights never exist: sum_j (k_i . k_j) pred_j = k_i . (sum_j k_j pred_j), so memory
    grows with C * K.

    Args:
        probs: (B, K, h, w) softmax over the classes of the scaled scores, after any denoising.
        keys: (B, C, h, w) of the last attention, raw, any length.
        threshold: locations whose best class reaches it keep their own prediction; 1 smooths all.
        official: as the release does it.

    Returns:
        (B, K, h, w) scores of the probabilities' dtype; no probabilities: they sum to anything.

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
    # Sums over a thousand locations, in float32 at least.
    dtype = torch.promote_types(probs.dtype, torch.float32)
    preds = probs.flatten(2).to(dtype)  # (B, K, N)
    unit_keys = F.normalize(keys.flatten(2).to(dtype), dim=2 if official else 1)  # (B, C, N)
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


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it is a probability, give one in [0, 1]")
