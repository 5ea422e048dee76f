"""Read thresholds of single classes: "cat = 0.4"."""

from collections.abc import Sequence

from ovseg_d2.vocab.lines import clean_word, fold_word, shown

__all__ = ["read_thresholds"]


def read_thresholds(entries: Sequence[str], what: str) -> dict[str, float]:
    """Return the threshold of each class that is named.

    Args:
        entries: of the form "name = number"; the last "=" counts.
        what: the key that holds them, for errors.

    Raises:
        ValueError: an entry of another form, a number outside [0, 1], or a class named twice.
    """
    thresholds: dict[str, float] = {}
    for entry in entries:
        name, _, number = entry.rpartition("=")
        name = clean_word(name)
        try:
            threshold = float(number)
        except ValueError:
            threshold = -1.0
        if not name or not 0 <= threshold <= 1:
            raise ValueError(
                f"{what} holds {shown(entry)}; give a class and a probability, as 'cat = 0.4'"
            )
        if fold_word(name) in map(fold_word, thresholds):
            raise ValueError(f"{what} holds the class {shown(name)} twice; keep one of them")
        thresholds[name] = threshold
    return thresholds
