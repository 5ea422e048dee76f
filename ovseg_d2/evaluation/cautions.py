"""Sentences on limits of the numbers of an evaluation."""

from collections.abc import Sequence

import numpy as np

from ..vocab import name_some

__all__ = ["cautions_of_classes"]

_BINARY = 255  # white, in masks drawn in black and white


def cautions_of_classes(
    where: str,
    names: Sequence[str],
    counts: np.ndarray,
    *,
    unit: str,
    number: str,
    num_images: int,
    ignored: int = 0,
    ignored_values: Sequence[int] = (),
) -> list[str]:
    """Describe what limits a mean over classes, by how often each class occurs.

    Args:
        where: "dataset NAME".
        names: of the K classes.
        counts: (K,) number of labels of each class.
        unit: what ``counts`` counts, such as "pixels".
        number: name of the mean over classes, such as "mIoU".
        num_images: number of images with these labels.
        ignored: number of ignored labels.
        ignored_values: values of ignored labels in label files.

    Returns:
        Sentences without a full stop; none if every class occurs.
    """
    present = [name for name, count in zip(names, counts, strict=True) if count]
    absent = [name for name, count in zip(names, counts, strict=True) if not count]
    if num_images == 0:
        return []
    if not present:
        return [
            f"{where}: no label of the {num_images} images is of a class, so there is no {number}"
        ]
    if len(names) == 1:
        return [
            f"{where} has one class, {names[0]}, and every prediction is that class, so {number} "
            "says nothing about the model; add the other classes, such as background"
        ]
    if present == [names[0]] and ignored and _BINARY in ignored_values:
        share = 100 * ignored / (ignored + counts.sum())
        return [
            f"{where}: labels hold 0, which is {names[0]}, and {_BINARY}, which is ignored "
            f"({share:.1f} % of the {unit}), like masks in black and white; the ignored {unit} do "
            f"not count, so {number} is that of {names[0]} alone: write class ids, such as 1 for "
            f"{names[1]}, in place of {_BINARY}"
        ]
    sentences = []
    if absent:
        sentences.append(
            f"{where}: {len(absent)} of {len(names)} classes occur in no label of the {num_images} "
            f"images and are left out of {number}: {name_some(absent)}"
        )
    if len(present) == 1:
        sentences.append(f"{where}: {number} is that of one class, {present[0]}")
    return sentences
