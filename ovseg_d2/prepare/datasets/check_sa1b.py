"""Checking images and masks of SA-1B, of which there may be any number."""

from functools import partial
from pathlib import Path
from typing import Any

from ...data.datasets.sa1b import SA1B_NAME, pair_sa1b
from ...data.images import ImageReadError
from ...json_files import printable, read_json
from .check_pairs import PairResult, group_problems, image_size
from .name_lists import some_names
from .owners import where_to_get
from .parallel import run_parallel

__all__ = ["check_sa1b"]

_MOST_BYTES = 2**29
_CUT = "files of masks that are truncated or of another format"
_SIZES = "files of masks of another size than their image"


def check_sa1b(folder: Path, workers: int) -> tuple[int, list[str]]:
    """Check the pairs of images and masks, whether both are whole, and their sizes.

    The runs of the masks are not decoded.

    Args:
        folder: of all archives, in a layout of `pair_sa1b`.
        workers: number of processes.

    Returns:
        Number of images with masks, and sentences about what is wrong.
    """
    pairs, images, masks = pair_sa1b(folder)
    get = f"unpack {where_to_get(SA1B_NAME, 'images')} again"
    findings = []
    if not pairs:
        findings.append(f"no image in {folder} has masks; {get}")
    for stems, what in ((images, "images have no masks"), (masks, "files of masks have no image")):
        if stems:
            findings.append(f"{len(stems)} {what}: {some_names(sorted(stems))}; {get}")
    check = partial(_check_pair, folder)
    results = run_parallel(check, sorted(pairs.items()), workers, f"checking {SA1B_NAME}")
    return len(pairs), findings + group_problems(sorted(results, key=lambda result: result.stem))


def _check_pair(folder: Path, pair: tuple[str, str]) -> PairResult:
    image, masks = folder / f"{pair[0]}.jpg", folder / f"{pair[1]}.json"
    problems: dict[str, str] = {}
    size, sizes = None, None
    try:
        size = image_size(image)
    except ImageReadError as error:
        problems["images that cannot be read"] = str(error)
    try:
        sizes = _mask_sizes(read_json(masks, max_bytes=_MOST_BYTES))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems[_CUT] = f"{printable(masks)} ({error})"
    if size is not None and sizes is not None and sizes != {size}:
        other = next(iter(sizes - {size}))
        problems[_SIZES] = (
            f"{printable(masks)} with {other[0]} x {other[1]} pixels for an image of {size[0]} x "
            f"{size[1]}"
        )
    return PairResult(pair[0], problems, ())


def _mask_sizes(content: Any) -> set[tuple[int, int]]:
    """Sizes (h, w) that a file states: of its image and of each mask."""
    image = content["image"]
    sizes = [entry["segmentation"]["size"] for entry in content["annotations"]]
    return {(image["height"], image["width"]), *((height, width) for height, width in sizes)}
