"""The lambda-ensemble of two class distributions per mask."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_lambdas", "lambda_ensemble"]


def lambda_ensemble(
    proposal_probs: Tensor,
    clip_probs: Tensor,
    valid: Tensor,
    lambdas: float | Tensor,
    *,
    official: bool = False,
) -> Tensor:
    """Combine the class probabilities of the proposal model with those of CLIP.

    Paper: [ovseg] Sec. 3.1, Eq. (2): p^(1 - lambda) q^lambda, not normalised again. q is 1 for a
    mask without a pixel for CLIP.

    Args:
        proposal_probs: p, (Q, K) in [0, 1].
        clip_probs: q, (Q, K) in [0, 1]; rows of invalid masks are not read.
        valid: (Q,) bool, the masks that CLIP has classified.
        lambdas: one number or (K,), in [0, 1]: 0 is the proposal model alone, 1 is CLIP alone.
        official: follow the release, where 0 is CLIP alone: q, and zeros for invalid masks. Other
            numbers have the same result.

    Returns:
        (Q, K) of the proposals' dtype.

    Raises:
        ValueError: other shapes, or a lambda outside [0, 1].
    """
    num_classes = proposal_probs.shape[-1]
    if proposal_probs.dim() != 2 or proposal_probs.shape != clip_probs.shape:
        raise ValueError(
            f"proposal_probs {tuple(proposal_probs.shape)} and clip_probs "
            f"{tuple(clip_probs.shape)} must both be (Q, K), over the same masks and classes"
        )
    if valid.shape != proposal_probs.shape[:1] or valid.dtype != torch.bool:
        raise ValueError(
            f"valid has shape {tuple(valid.shape)} and dtype {valid.dtype}; give one bool for each "
            f"of {len(proposal_probs)} masks"
        )
    weights = torch.as_tensor(lambdas, dtype=proposal_probs.dtype, device=proposal_probs.device)
    if weights.dim() > 0 and weights.shape != (num_classes,):
        raise ValueError(
            f"lambdas have shape {tuple(weights.shape)}; give one number, or one for each of the "
            f"{num_classes} classes"
        )
    if not bool(((weights >= 0) & (weights <= 1)).all()):
        raise ValueError(
            f"lambda is {weights.tolist()}, outside [0, 1]; 0 are "
            "the proposals alone, 1 is CLIP alone"
        )
    clip_probs = clip_probs.to(proposal_probs)
    if official and weights.dim() == 0 and weights == 0:
        return torch.where(valid[:, None], clip_probs, 0.0)
    clip_probs = torch.where(valid[:, None], clip_probs, 1.0)
    return proposal_probs ** (1 - weights) * clip_probs**weights


def class_lambdas(seen: Tensor, seen_lambda: float, unseen_lambda: float) -> Tensor:
    """Return a lambda per class, (K,) float32, for `lambda_ensemble`.

    Args:
        seen: (K,) bool, the classes that the proposal model was trained on.
        seen_lambda: lambda of these classes.
        unseen_lambda: lambda of the other classes.
    """
    return torch.where(seen, float(seen_lambda), float(unseen_lambda))
