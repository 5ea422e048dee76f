"""Means of IoU as the papers' own code counts them."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from .means import harmonic_mean

__all__ = ["official_numbers", "plain_key"]

# Class sets whose complement is evaluated too.
_KNOWN_SETS = ("base", "seen")


def official_numbers(
    counts: np.ndarray, class_sets: Mapping[str, Sequence[int]] | None = None
) -> dict[str, float]:
    """Compute the numbers of OVSeg's evaluator and of mmseg that detectron2's differ from.

    detectron2's mIoU is the mean over classes with labels. Both others take the mean over classes
    that are labelled or predicted: a class that is predicted and never labelled counts as 0. The
    two differ in pixels predicted as a channel beyond the classes, which OVSeg and detectron2
    leave out and mmseg counts as missed. Images without labels, which OVSeg's preparation of
    VOC-20 skips, change no number.

    Source: ov-seg, ``open_vocab_seg/evaluation/generalized_sem_seg_evaluation.py``, lines 105-157;
    mmseg's ``core/evaluation/metrics.py`` and ``CustomDataset.evaluate`` in MaskCLIP. SCLIP, NACLIP
    and ClearCLIP use mmseg's ``IoUMetric``, which has the same formula.

    Departs: OVSeg's evaluator has the complement and harmonic mean of every set, here of base and
    seen alone.

    Args:
        counts: (K + 1, K + 1) pixels: predicted class in rows, labelled in columns; the last row is
            a channel beyond the classes, the last column the ignored labels.
        class_sets: name -> class ids.

    Returns:
        In percent ``mIoU_ovseg`` and ``mIoU_mmseg``; for each set ``mIoU_ovseg_<set>`` and
        ``pAcc_ovseg_<set>``, the share of the set's labelled pixels that are right. The sets base
        and seen have both numbers also for all other classes, as ``..._un<set>`` (those of a set of
        that name where there is one), and ``hIoU_ovseg_<set>``, the harmonic mean of the two mIoU.
        NaN without a class or a pixel.
    """
    inner = counts[:-1, :-1]
    hits = np.diag(inner)
    labelled = inner.sum(axis=0)
    predicted = inner.sum(axis=1)
    everything = np.ones(len(hits), dtype=bool)

    def mean(labelled: np.ndarray, of_set: np.ndarray) -> float:
        union = (labelled + predicted - hits)[of_set]
        present = union > 0
        return _percent((hits[of_set][present] / union[present]).sum(), present.sum())

    numbers = {
        "mIoU_ovseg": mean(labelled, everything),
        "mIoU_mmseg": mean(counts[:, :-1].sum(axis=0), everything),
    }
    class_sets = class_sets or {}
    masks = {}
    for name, ids in class_sets.items():
        masks[name] = np.isin(np.arange(len(hits)), [*ids])
        if name in _KNOWN_SETS and f"un{name}" not in class_sets:
            masks[f"un{name}"] = ~masks[name]
    for name, of_set in masks.items():
        numbers[f"mIoU_ovseg_{name}"] = mean(labelled, of_set)
        numbers[f"pAcc_ovseg_{name}"] = _percent(hits[of_set].sum(), labelled[of_set].sum())
    for name in _KNOWN_SETS:
        if name in class_sets:
            known, new = (numbers[f"mIoU_ovseg_{each}"] for each in (name, f"un{name}"))
            numbers[f"hIoU_ovseg_{name}"] = harmonic_mean(known, new)
    return numbers


def plain_key(key: str) -> str | None:
    """The key of detectron2's number for one of `official_numbers`; None for any other key.

    Not every such number exists: detectron2 has no accuracy of class sets.
    """
    match = re.fullmatch("(mIoU|hIoU|pAcc)_(?:ovseg|mmseg)(_.+)?", key, re.DOTALL)
    if match is None:
        return None
    return "hIoU" if match[1] == "hIoU" else match[1] + (match[2] or "")


def _percent(part: float, whole: float) -> float:
    return 100 * float(part) / float(whole) if whole else float("nan")
