"""Classes of the Shapes world and their three sets.

72 object classes, the pairs of 8 colours with 4 patterns ("red stripes", told apart locally) and
with 5 outlines ("red star", told apart by shape), and 8 textured grounds.

* base: labels and captions.
* novel: images and captions, never labelled.
* withheld: in no training image, caption or label; only their colours and kinds are.
"""

import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 28, 36),
    "orange": (250, 138, 12),
    "yellow": (246, 220, 30),
    "green": (22, 160, 58),
    "cyan": (20, 200, 212),
    "blue": (32, 62, 214),
    "purple": (132, 40, 176),
    "pink": (248, 124, 186),
}
PATTERNS: tuple[str, ...] = ("stripes", "dots", "checks", "waves")
OUTLINES: tuple[str, ...] = ("star", "ring", "cross", "triangle", "square")
KINDS: tuple[str, ...] = PATTERNS + OUTLINES
GROUNDS: tuple[str, ...] = (
    "grass",
    "sand",
    "water",
    "brick",
    "wood",
    "gravel",
    "snow",
    "tiles",
)
NOVEL_GROUNDS: tuple[str, ...] = ("wood", "snow")
IGNORE_LABEL = 255

NUM_OBJECT_CLASSES = len(COLORS) * len(KINDS)
CLASSES: tuple[str, ...] = tuple(f"{c} {k}" for c in COLORS for k in KINDS) + GROUNDS


def split_object_class(class_id: int) -> tuple[int, int]:
    """Colour and kind numbers of an object class."""
    return divmod(class_id, len(KINDS))


def _set_of(color: int, kind: int) -> str:
    # A Latin-square walk: every colour and every kind occurs in every set, so only combinations are
    # novel or withheld.
    step = (2 * color + kind) % len(KINDS)
    if step == 0 or (step == 4 and color % 3 == 1):
        return "withheld"
    if step in (2, 6) or (step == 7 and color % 4 == 0):
        return "novel"
    return "base"


def _class_sets() -> dict[str, tuple[int, ...]]:
    sets: dict[str, list[int]] = {"base": [], "novel": [], "withheld": []}
    for class_id in range(NUM_OBJECT_CLASSES):
        sets[_set_of(*split_object_class(class_id))].append(class_id)
    for number, ground in enumerate(GROUNDS):
        name = "novel" if ground in NOVEL_GROUNDS else "base"
        sets[name].append(NUM_OBJECT_CLASSES + number)
    return {name: tuple(ids) for name, ids in sets.items()}


CLASS_SETS: dict[str, tuple[int, ...]] = _class_sets()


def training_label_map() -> np.ndarray:
    """Lookup table (256,) uint8 from class id to training label: novel and withheld are ignored."""
    table = np.full(256, IGNORE_LABEL, dtype=np.uint8)
    base = np.asarray(CLASS_SETS["base"])
    table[base] = base
    return table


def article(class_name: str) -> str:
    """Class name as in captions: "a red star", but "red stripes" and "grass"."""
    last = class_name.rsplit(" ", 1)[-1]
    if last not in OUTLINES:
        return class_name
    return f"an {class_name}" if class_name[0] in "aeiou" else f"a {class_name}"
