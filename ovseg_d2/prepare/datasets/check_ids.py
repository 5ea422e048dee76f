"""Telling from the ids of label files whether they are the owner's own, or in another order.

Three tests, from the surest to the weakest:

1. An id without a class. If the only one is K, the number of classes, all ids are off by one.
2. The lists of VOC (ImageSets/Main) say which of its 20 classes an image shows. The ids of these
   classes must be in its labels; labels that are off by one, or in the order of 59_labels.txt,
   agree better with the ids that they give to these classes.
3. Owners who use 0 for pixels without a class leave such pixels in most images. If the ignored
   label is in no file at all, 0 has not been mapped to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...json_files import open_regular, printable
from ...vocab import load_vocabulary

__all__ = ["class_agreement", "find_wrong_ids", "presence_lists", "read_presence"]

_SHOWN = 5
_ENOUGH = 20  # label files, or classes in images, that make a statistic
_MARGIN = 0.2
_MOST_LIST = 2**24  # bytes
# Word lists of datasets whose owner's 0 means "no class" and becomes the ignored label.
_ZERO_IS_IGNORED = ("ade150", "ade847", "cityscapes19", "context59", "voc20")
# Class sets of VOC -> year whose lists know the images.
_YEARS = {
    "voc20": "VOC2012",
    "voc21": "VOC2012",
    "context59": "VOC2010",
    "context60": "VOC2010",
    "context459": "VOC2010",
}
_OWN_LABELS = "; make them again with --overwrite"


def find_wrong_ids(
    ids: Mapping[str, Sequence[int]], num_classes: int, ignore_label: int, word_list: str
) -> Iterator[str]:
    """Findings about the range of ids (tests 1 and 3).

    Args:
        ids: name of a label file -> ids in it.
        num_classes: number of classes K.
        ignore_label: of the dataset.
        word_list: of the dataset.

    Yields:
        Sentences.
    """
    files: dict[int, list[str]] = {}
    for name, present in ids.items():
        for number in present:
            files.setdefault(number, []).append(name)
    unknown = sorted(n for n in files if not 0 <= n < num_classes and n != ignore_label)
    if unknown == [num_classes]:
        yield (
            f"{len(files[num_classes])} label files hold the id {num_classes}, such as "
            f"{printable(files[num_classes][0])}, and the classes are 0 to {num_classes - 1}: they "
            "look like the owner's own labels, off by one, where 0 is no class" + _OWN_LABELS
        )
    elif unknown:
        shown = ", ".join(f"{n} in {printable(files[n][0])}" for n in unknown[:_SHOWN])
        more = ", ..." if len(unknown) > _SHOWN else ""
        yield (
            f"{len(unknown)} ids have no class among 0 to {num_classes - 1} and {ignore_label}: "
            f"{shown}{more}{_OWN_LABELS}"
        )
    elif word_list == "coco_object" and ignore_label in files:
        yield (
            f"{len(files[ignore_label])} label files have ignored pixels ({ignore_label}), such as "
            f"{printable(files[ignore_label][0])}, and pixels of no object are background, 0, in "
            f"this dataset{_OWN_LABELS}"
        )
    elif word_list in _ZERO_IS_IGNORED and len(ids) >= _ENOUGH and ignore_label not in files:
        yield (
            f"no pixel of {len(ids)} label files is ignored ({ignore_label}), and this dataset has "
            "such pixels in most images: they look like the owner's own labels, off by one, where "
            "0 is no class" + _OWN_LABELS
        )


def class_agreement(
    ids: Mapping[str, Sequence[int]], present: Mapping[str, Sequence[str]], word_list: str
) -> Iterator[str]:
    """Findings about the order of classes (test 2).

    Args:
        ids: name of an image -> ids in its labels.
        present: name of an image -> VOC classes that it shows, from `read_presence`.
        word_list: of the dataset.

    Yields:
        At most one sentence.
    """
    known = [(name, cls) for name in ids if name in present for cls in present[name]]
    if len(known) < _ENOUGH:
        return

    def share(order: Mapping[str, int]) -> float:
        return sum(order[cls] in ids[name] for name, cls in known) / len(known)

    orders = _voc_orders(word_list)
    shares = {name: share(order) for name, order in orders.items()}
    best = max(shares, key=lambda name: shares[name])
    right = shares["in order"]
    if shares[best] > right + _MARGIN:
        yield (
            f"labels are {best}: of {len(known)} objects that VOC's lists name in these images, "
            f"{shares[best]:.0%} have the id that they would have then, and {right:.0%} the id "
            f"that the word list {word_list} gives them{_OWN_LABELS}"
        )


def presence_lists(root: Path, word_list: str) -> Path | None:
    """Folder of the lists of images that show each VOC class; None for other class sets."""
    year = _YEARS.get(word_list)
    return None if year is None else root / "VOCdevkit" / year / "ImageSets" / "Main"


def read_presence(folder: Path) -> dict[str, list[str]]:
    """Read which VOC classes images show, from lists such as ``person_trainval.txt``.

    Lines are "2008_000002  1" with 1 for shown, -1 for not shown, and 0 for difficult objects,
    which are left out.

    Returns:
        Name of an image -> names of classes; {} if a list is missing or is no such list.
    """
    present: dict[str, list[str]] = {}
    for cls in load_vocabulary("voc20").names:
        try:
            with open_regular(folder / f"{cls}_trainval.txt") as file:
                lines = file.read(_MOST_LIST).decode("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        for words in map(str.split, lines):
            if len(words) == 2 and words[1] == "1":
                present.setdefault(words[0], []).append(cls)
    return present


def _voc_orders(word_list: str) -> dict[str, dict[str, int]]:
    """Ids of the VOC classes in the order of a word list, and in the orders it is mistaken for."""
    names = load_vocabulary(word_list).names
    voc = load_vocabulary("voc20").names
    # Pascal Context calls VOC's "diningtable" a table.
    right = {cls: names.index(cls if cls in names else "table") for cls in voc}
    orders = {"in order": right}
    if names[0] == "background":
        lower = {cls: number - 1 for cls, number in right.items()}
        orders["off by one, without the background as class 0"] = lower
    else:
        higher = {cls: number + 1 for cls, number in right.items()}
        orders["off by one, the owner's own, where 0 is no class"] = higher
    if word_list == "context59":
        # OVSeg: register_pascal_context.py, PASCALCONTEX59_NAMES.
        orders["in the order of 59_labels.txt, as OVSeg has them"] = {
            cls: number for number, cls in enumerate(voc)
        }
    return orders
