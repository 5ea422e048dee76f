"""Virtual files of the Shapes world, ``shapes://split/seed/index``, and their readers."""

from collections import OrderedDict
from threading import Lock

import numpy as np

from .captions import write_captions
from .classes import training_label_map
from .scene import SPLITS, Scene, render_scene

PREFIX = "shapes://"
_CROP_MARK = "#crop"
_CROP_STREAM = 11
_MAX_DIGITS = 100  # of a seed or an index; Python refuses to convert thousands


class _SceneCache:
    """The last used scenes, up to a number of bytes; rendering one takes about two milliseconds."""

    def __init__(self, max_bytes: int = 1_600_000_000) -> None:
        self._scenes: OrderedDict[tuple[str, int, int], Scene] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._lock = Lock()

    def get(self, split: str, seed: int, index: int) -> Scene:
        key = (split, seed, index)
        with self._lock:
            if key in self._scenes:
                self._scenes.move_to_end(key)
                return self._scenes[key]
        scene = render_scene(split, seed, index)
        for array in (scene.image, scene.labels, scene.regions):
            array.setflags(write=False)
        with self._lock:
            if key not in self._scenes:
                self._scenes[key] = scene
                self._bytes += _size_of(scene)
            while self._bytes > self._max_bytes and len(self._scenes) > 1:
                _, dropped = self._scenes.popitem(last=False)
                self._bytes -= _size_of(dropped)
        return scene


def _size_of(scene: Scene) -> int:
    return scene.image.nbytes + scene.labels.nbytes + scene.regions.nbytes


_CACHE = _SceneCache()


def format_name(split: str, seed: int, index: int) -> str:
    """Virtual file name of an image."""
    return f"{PREFIX}{split}/{seed}/{index}"


def crop_name(file_name: str) -> str:
    """Virtual file name of the crop that `read_crop` cuts from an image."""
    return f"{file_name}{_CROP_MARK}"


def is_shapes_name(file_name: str) -> bool:
    """Whether a file name belongs to the Shapes world."""
    return str(file_name).startswith(PREFIX)


def parse_name(file_name: str) -> tuple[str, int, int]:
    """Split, seed and index of a virtual file name.

    Raises:
        ValueError: the name is not ``shapes://split/seed/index``.
    """
    parts = str(file_name).removeprefix(PREFIX).split("/")
    well_formed = is_shapes_name(file_name) and len(parts) == 3 and parts[0] in SPLITS
    if not (well_formed and all(_is_number(part) for part in parts[1:])):
        raise ValueError(
            f"{str(file_name)[:80]!r} is not an image of the Shapes world; "
            f"write shapes://SPLIT/SEED/INDEX with SPLIT one of {', '.join(SPLITS)}"
        )
    return parts[0], int(parts[1]), int(parts[2])


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_DIGITS


def read_scene(file_name: str) -> Scene:
    """Scene of a virtual file name; its arrays are read-only."""
    return _CACHE.get(*parse_name(file_name))


def read_image(file_name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB, read-only, of an image or of a crop (see `crop_name`)."""
    if file_name.endswith(_CROP_MARK):
        return read_crop(file_name)[0]
    return read_scene(file_name).image


def read_labels(file_name: str, *, hide_novel: bool = False) -> np.ndarray:
    """(H, W) uint8 class ids, read-only.

    Args:
        file_name: virtual file name.
        hide_novel: replace novel and withheld classes by the ignore label, as in training.
    """
    labels = read_scene(file_name).labels
    if not hide_novel:
        return labels
    hidden = training_label_map()[labels]
    hidden.setflags(write=False)
    return hidden


def read_regions(file_name: str) -> np.ndarray:
    """(H, W) uint8 exact regions without classes, numbered from 0, read-only."""
    return read_scene(file_name).regions


def read_captions(file_name: str) -> tuple[str, ...]:
    """The one to five captions of a virtual file name."""
    return write_captions(read_scene(file_name), *parse_name(file_name))


def read_crop(file_name: str, *, margin: float = 0.15) -> tuple[np.ndarray, int]:
    """Crop an image around one of its objects, for classification.

    Args:
        file_name: virtual file name of the image or of its crop; it determines the object.
        margin: added on each side, as a share of the box's larger side.

    Returns:
        (h, w, 3) uint8 RGB crop, read-only, and the object's class id; of an image without objects
        the whole image and the class id of its first ground.

    Raises:
        ValueError: a negative margin, or a name that is not ``shapes://split/seed/index``.
    """
    if margin < 0:
        raise ValueError(f"margin={margin} would cut the object; give 0 or more")
    file_name = file_name.removesuffix(_CROP_MARK)
    scene = read_scene(file_name)
    split, seed, index = parse_name(file_name)
    if not scene.objects:
        return scene.image, scene.ground_ids[0]
    rng = np.random.Generator(np.random.PCG64([SPLITS.index(split), seed, index, _CROP_STREAM]))
    chosen = scene.objects[int(rng.integers(len(scene.objects)))]
    left, top, right, bottom = chosen.box
    pad = round(margin * max(right - left, bottom - top))
    height, width = scene.labels.shape
    top, left = max(top - pad, 0), max(left - pad, 0)
    bottom, right = min(bottom + pad, height), min(right + pad, width)
    return scene.image[top:bottom, left:right], chosen.class_id
