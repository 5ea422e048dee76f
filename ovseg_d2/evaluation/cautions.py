"""What makes the numbers of an evaluation mean less than they seem to: one sentence each."""

from collections.abc import Sequence

import numpy as np

from ..vocab import name_some

__all__ = ["cautions_of_classes"]

_BINARY = 255  # of masks that were drawn in black and white


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
    """Say what is odd about how often each class occurs.

    Args:
        where: "dataset NAME".
        names: of the classes.
        counts: (K,) labels of each class.
        unit: what is counted, such as "pixels".
        number: the mean over classes that is reported, such as "mIoU".
        num_images: in which they were counted.
        ignored: labels that do not count.
        ignored_values: how label files mark them.

    Returns:
        Sentences, without a full stop; none where every class occurs.
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
            f"{where} has one class, {names[0]}, and every answer is that class, so {number} says "
            "nothing of the model; add the other classes, such as background"
        ]
    if present == [names[0]] and ignored and _BINARY in ignored_values:
        share = 100 * ignored / (ignored + counts.sum())
        return [
            f"{where}: labels hold 0, which is {names[0]}, and {_BINARY}, which is ignored "
            f"({share:.1f} % of the {unit}), like masks in black and white; the ignored {unit} do "
            f"not count, so {number} is that of {names[0]} alone: write class ids, such as 1 for "
            f"{names[1]}, in place of {_BINARY}"
        ]
    found = []
    if absent:
        found.append(
            f"{where}: {len(absent)} of {len(names)} classes occur in no label of the {num_images} "
            f"images and are left out of {number}: {name_some(absent)}"
        )
    if len(present) == 1:
        found.append(f"{where}: {number} is that of one class, {present[0]}")
    return found
