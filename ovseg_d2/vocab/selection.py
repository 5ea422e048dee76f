"""Select classes by their names or by the names of class sets."""

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["find_classes", "find_unseen"]

# The class sets of the plugin's datasets.
_SET_NAMES = frozenset({"base", "novel", "withheld", "seen", "unseen"})


def find_classes(
    wanted: Iterable[str], names: Sequence[str], class_sets: Mapping[str, Iterable[int]]
) -> tuple[int, ...]:
    """Return the indices of the selected classes, ascending, without repeats.

    Args:
        wanted: names of class sets, such as "unseen", or of classes, ignoring case. A class set
            comes before a class of the same name.
        names: of all classes, in order.
        class_sets: name -> indices.

    Raises:
        ValueError: a name of neither a class nor a class set.
    """
    index_of = {name.casefold(): index for index, name in enumerate(names)}
    ids: set[int] = set()
    for name in wanted:
        if name in class_sets:
            ids.update(int(index) for index in class_sets[name])
        elif name.casefold() in index_of:
            ids.add(index_of[name.casefold()])
        else:
            sets = ", ".join(class_sets) or "none"
            raise ValueError(
                f"{name!r} is neither one of the {len(names)} classes nor of their sets ({sets}); "
                "name some of them"
            )
    return tuple(sorted(ids))


def find_unseen(
    unseen: Iterable[str], names: Sequence[str], class_sets: Mapping[str, Iterable[int]]
) -> tuple[int, ...]:
    """Run `find_classes`; without class sets, their usual names ("novel", ...) select no class.

    So a config that hides "novel" classes trains on all classes of a dataset without class sets.
    Arguments and errors are those of `find_classes`.
    """
    classes = {name.casefold() for name in names}
    wanted = [
        name
        for name in unseen
        if class_sets or name not in _SET_NAMES or name.casefold() in classes
    ]
    return find_classes(wanted, names, class_sets)
