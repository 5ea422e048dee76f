"""Some of the classes of a list, by their names or by those of class sets."""

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["find_classes", "find_unseen"]

# What the plugin's datasets call their class sets.
_SET_NAMES = frozenset({"base", "novel", "withheld", "seen", "unseen"})


def find_classes(
    wanted: Iterable[str], names: Sequence[str], class_sets: Mapping[str, Iterable[int]]
) -> tuple[int, ...]:
    """Indices of the classes that are asked for, ascending, each once.

    Args:
        wanted: names of class sets, such as "unseen", or of classes, ignoring case.
        names: of the classes, in their order.
        class_sets: name -> indices.

    Raises:
        ValueError: neither a class nor a class set.
    """
    places = {name.casefold(): index for index, name in enumerate(names)}
    found: set[int] = set()
    for each in wanted:
        if each in class_sets:
            found.update(int(index) for index in class_sets[each])
        elif each.casefold() in places:
            found.add(places[each.casefold()])
        else:
            sets = ", ".join(class_sets) or "none"
            raise ValueError(
                f"{each!r} is neither one of the {len(names)} classes nor of their sets ({sets}); "
                "name some of them"
            )
    return tuple(sorted(found))


def find_unseen(
    unseen: Iterable[str], names: Sequence[str], class_sets: Mapping[str, Iterable[int]]
) -> tuple[int, ...]:
    """`find_classes`, where the usual names of class sets name nothing of a dataset without any.

    A config that hides "novel" classes then trains on all classes of such a dataset.

    Args:
        unseen: names of class sets or of classes.
        names: of the dataset's classes.
        class_sets: of the dataset; {} where it has none.

    Raises:
        ValueError: neither a class nor a class set.
    """
    classes = {name.casefold() for name in names}
    wanted = [
        each
        for each in unseen
        if class_sets or each not in _SET_NAMES or each.casefold() in classes
    ]
    return find_classes(wanted, names, class_sets)
