"""Means over classes, class sets and pairs of class sets."""

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["harmonic_mean", "iou_of", "mean_of_present", "means_of_sets"]


def means_of_sets(
    values: np.ndarray,
    class_sets: Mapping[str, Sequence[int]],
    measure: str = "mIoU",
    harmonic: str = "hIoU",
) -> dict[str, float]:
    """Compute means over sets of classes.

    Args:
        values: (K,) IoU or another measure per class; NaN where a class does not occur.
        class_sets: name -> class ids.
        measure: name of the means.
        harmonic: name of their harmonic mean.

    Returns:
        ``mIoU_<name>`` for each set (NaN if none of its classes occurs); with sets base and novel,
        or seen and unseen, also ``hIoU``, their harmonic mean (NaN if one of them is), and
        ``mIoU_base_novel``, the mean over the classes of both.
    """
    means = {
        f"{measure}_{name}": mean_of_present(values[[*ids]]) for name, ids in class_sets.items()
    }
    for known, new in (("base", "novel"), ("seen", "unseen")):
        if not {known, new} <= set(class_sets):
            continue
        first, second = means[f"{measure}_{known}"], means[f"{measure}_{new}"]
        means[harmonic] = harmonic_mean(first, second)
        # The mean over all classes of both sets is not the mean of the two means.
        both = [*class_sets[known], *class_sets[new]]
        means[f"{measure}_{known}_{new}"] = mean_of_present(values[both])
    return means


def harmonic_mean(first: float, second: float) -> float:
    """Harmonic mean of two numbers of at least 0; 0 if both are 0, NaN if one is NaN."""
    return 0.0 if first + second == 0 else 2 * first * second / (first + second)


def mean_of_present(values: np.ndarray) -> float:
    """Mean of the finite values; NaN without any."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def iou_of(counts: np.ndarray) -> np.ndarray:
    """IoU in percent from a confusion matrix (rows predicted); NaN for classes without labels."""
    hit = np.diag(counts).astype(float)
    labelled, predicted = counts.sum(0), counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(labelled > 0, 100 * hit / (labelled + predicted - hit), np.nan)
