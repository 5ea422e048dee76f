"""Translate the values of label files to class ids, by the metadata of their dataset."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, NoReturn

import numpy as np

from ovseg_d2.vocab.metadata import Metadata, metadata_vocabulary, read_class_names

__all__ = ["IGNORED", "LabelCodes", "label_codes"]

IGNORED = -100  # class id of pixels that do not count
_UNKNOWN = -101  # class id of values without a meaning
_TABLE_SIZE = 2**16  # values below it are looked up in a table
_MAP = "stuff_dataset_id_to_contiguous_id"


@dataclass(frozen=True)
class LabelCodes:
    """The translation of label values to class ids.

    Attributes:
        where: "dataset NAME", for errors.
        num_classes: K; None if the classes are not known, so that every value from 0 is one.
        ignored: values of pixels that do not count.
        ids: value -> class id or `IGNORED`; None if values are class ids.
        colors: red * 65536 + green * 256 + blue -> class id or `IGNORED`, for files in colour.
        label_ids: the metadata's "dataset", "contiguous" or, without an entry, "".
    """

    where: str
    num_classes: int | None
    ignored: tuple[int, ...]
    ids: Mapping[int, int] | None = None
    colors: Mapping[int, int] = field(default_factory=dict)
    label_ids: str = ""

    def decode(self, values: np.ndarray, label_file: str, *, strict: bool = True) -> np.ndarray:
        """Translate the values of a label file to class ids.

        Args:
            values: (H, W) integers, or (H, W, 3) uint8 RGB.
            label_file: the file, for errors.
            strict: refuse values without a meaning; else they become -101.

        Returns:
            (H, W) int64, 0 to K - 1 or `IGNORED`, which is -100.

        Raises:
            ValueError: a value or colour without a meaning.
        """
        values, in_color = values.astype(np.int64), values.ndim == 3
        if in_color:
            values = values @ (65536, 256, 1)
            class_ids = _translate(values, lambda codes: _look_up(self.colors, codes))
        else:
            class_ids = _translate(values, self._classes_of)
        unknown = class_ids == _UNKNOWN
        if strict and unknown.any():
            first = int(values[unknown].min())
            refuse = self._refuse_color if in_color else self._refuse_value
            refuse(first, int((values == first).sum()), label_file)
        return class_ids

    def contiguous(self) -> "LabelCodes":
        """Return the codes of files that hold class ids, not ids of the dataset."""
        return replace(self, ids=None)

    def proven_by(self, values: np.ndarray) -> str:
        """Return the only kind of ids that a file can hold: "dataset", "contiguous", or "".

        Args:
            values: (H, W) integers.
        """
        values = np.unique(values.astype(np.int64))
        as_dataset_ids = _UNKNOWN not in self._classes_of(values)
        as_classes = _UNKNOWN not in self.contiguous()._classes_of(values)
        if as_dataset_ids == as_classes:
            return ""
        return "dataset" if as_dataset_ids else "contiguous"

    def _classes_of(self, values: np.ndarray) -> np.ndarray:
        """(N,) values -> (N,) class ids, `IGNORED` or `_UNKNOWN`."""
        if self.ids is None:
            limit = np.inf if self.num_classes is None else self.num_classes
            class_ids = np.where((values >= 0) & (values < limit), values, _UNKNOWN)
        else:
            class_ids = _look_up(self.ids, values)
        return np.where(np.isin(values, self.ignored), IGNORED, class_ids)

    def _refuse_value(self, value: int, count: int, label_file: str) -> NoReturn:
        ignores = " and ".join(map(str, self.ignored)) or "nothing"
        if self.ids is not None:
            raise ValueError(
                f"label file {label_file} holds the id {value} in {count} pixels, which "
                f"{self.where} neither has in its {_MAP} nor ignores (it ignores {ignores}); add "
                "it there, or set label_ids='contiguous' in the metadata if files hold class ids"
            )
        counted_from_1 = (
            f" (ids that count from 1: {_MAP}={{1: 0, ..., {value}: {value - 1}}} in the metadata)"
            if value == self.num_classes
            else ""
        )
        raise ValueError(
            f"label file {label_file} holds the id {value}, but {self.where} has "
            f"{self.num_classes or 'no'} classes and ignores {ignores}; map its ids to "
            f"0..{(self.num_classes or 1) - 1} first{counted_from_1}"
        )

    def _refuse_color(self, color: int, count: int, label_file: str) -> NoReturn:
        rgb = (color >> 16, color >> 8 & 255, color & 255)
        raise ValueError(
            f"label file {label_file} holds the colour {rgb} in {count} pixels, which the "
            f"label_palette of {self.where} does not have; add it, with the ignore label if it is "
            "not a class"
        )


def label_codes(
    metadata: Metadata, where: str, *, default_ignored: int | None = None
) -> LabelCodes:
    """Read the label codes of a dataset from its metadata.

    Args:
        metadata: of the dataset. ``ignore_label`` is an integer or several;
            ``stuff_dataset_id_to_contiguous_id`` maps values of label files to class ids, and
            ``label_ids`` states whether files hold those values ("dataset") or class ids
            ("contiguous"); ``label_palette`` maps (R, G, B) to the value that a file of one channel
            would hold. Without it ``stuff_colors`` are the colours of the classes in order.
        where: "dataset NAME", for errors.
        default_ignored: the ``ignore_label`` of metadata without one.

    Raises:
        ValueError: an entry of another form.
    """
    known = read_class_names(metadata, where) or metadata_vocabulary(metadata, where)
    num_classes = None if known is None else len(known)
    codes = LabelCodes(
        where,
        num_classes,
        _ignored_values(metadata.get("ignore_label"), where, default_ignored),
        label_ids=_label_ids(metadata.get("label_ids"), where),
    )
    ids = metadata.get(_MAP)
    if ids is not None:
        codes = replace(codes, ids=_class_ids(ids, codes))
    return replace(codes, colors=_colors(metadata, codes))


def _ignored_values(given: Any, where: str, default: int | None) -> tuple[int, ...]:
    if given is None:
        return () if default is None else (default,)
    values = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    if not all(_is_integer(value) for value in values):
        raise ValueError(
            f"ignore_label of {where} is {given!r}; give an integer, or a list of integers"
        )
    return tuple(int(value) for value in values)


def _label_ids(given: Any, where: str) -> str:
    if given not in (None, "dataset", "contiguous"):
        raise ValueError(
            f"label_ids of {where} is {given!r}; give 'dataset' if label files hold the keys of "
            f"{_MAP}, or 'contiguous' if they hold class ids"
        )
    return given or ""


def _class_ids(given: Any, codes: LabelCodes) -> dict[int, int] | None:
    """Check a map of ids and return it; None for the identity."""
    pairs = given.items() if isinstance(given, Mapping) else [(given, None)]
    ids = {}
    # An ignore label may equal a class id; a map then means the class.
    as_classes = replace(codes, ignored=())
    for value, class_id in pairs:
        decoded = _class_of(class_id, as_classes)
        decoded = _class_of(class_id, codes) if decoded == _UNKNOWN else decoded
        if decoded == _UNKNOWN or not _is_integer(value):
            raise ValueError(
                f"{_MAP} of {codes.where} holds {value!r}: {class_id!r}; map integers to class ids "
                f"0..{(codes.num_classes or 1) - 1}, or to the ignore label"
            )
        ids[int(value)] = decoded
    return None if ids == {number: number for number in range(codes.num_classes or 0)} else ids


def _colors(metadata: Metadata, codes: LabelCodes) -> dict[int, int]:
    """Colour -> class id or `IGNORED`."""
    palette = metadata.get("label_palette")
    pairs: list[tuple[Any, Any]]
    if palette is None:
        # The colours are in the order of the class ids.
        codes = codes.contiguous()
        given = metadata.get("stuff_colors")
        colors = [] if given is None else list(given)
        pairs = [(color, number) for number, color in enumerate(colors)]
        packed = {_pack(color) for color in colors}
        # Colours made for drawing may repeat or have another form; they then encode no labels.
        if None in packed or not len(packed) == len(colors) == codes.num_classes:
            return {}
    else:
        codes = codes.contiguous() if codes.label_ids == "contiguous" else codes
        pairs = list(palette.items()) if isinstance(palette, Mapping) else [(palette, None)]
    class_of_color = {}
    for color, value in pairs:
        key, class_id = _pack(color), _class_of(value, codes)
        if key is None or class_id == _UNKNOWN:
            raise ValueError(
                f"label_palette of {codes.where} holds {color!r}: {value!r}; map (R, G, B) of 0 to "
                "255 to the ids that label files of one channel would hold, or to the ignore label"
            )
        class_of_color[key] = class_id
    return class_of_color


def _class_of(value: Any, codes: LabelCodes) -> int:
    if not _is_integer(value):
        return _UNKNOWN
    return int(codes._classes_of(np.array([int(value)]))[0])


def _is_integer(value: Any) -> bool:
    fits = isinstance(value, Integral) and not isinstance(value, bool)
    return fits and abs(int(value)) < 2**62


def _pack(color: Any) -> int | None:
    """Return (R, G, B) as one number; None for another value."""
    if not isinstance(color, tuple | list | np.ndarray) or len(color) != 3:
        return None
    if not all(_is_integer(channel) and 0 <= channel <= 255 for channel in color):
        return None
    red, green, blue = (int(channel) for channel in color)
    return red * 65536 + green * 256 + blue


def _look_up(table: Mapping[int, int], values: np.ndarray) -> np.ndarray:
    """Return the table's entries of (N,) values; `_UNKNOWN` for a value without one."""
    if not table:
        return np.full(values.shape, _UNKNOWN)
    keys = np.array(sorted(table))
    entries = np.array([table[key] for key in keys.tolist()])
    places = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    return np.where(keys[places] == values, entries[places], _UNKNOWN)


def _translate(values: np.ndarray, translate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Translate every distinct value once."""
    if values.size == 0:
        return values
    if values.min() >= 0 and values.max() < _TABLE_SIZE:
        return translate(np.arange(values.max() + 1))[values]
    known, places = np.unique(values, return_inverse=True)
    return translate(known)[places.reshape(values.shape)]
