"""Checking files of captions and the images that they name."""

import os
from pathlib import Path

from ...data.datasets import caption_dicts
from ...data.images import ImageReadError
from ...json_files import LeftOut, read_json_lines
from .check_pairs import PairResult, group_problems, image_size
from .name_lists import some_names
from .owners import command_of, where_to_get
from .parallel import run_parallel

__all__ = ["CAPTION_SIZES", "check_captions"]

# Numbers of images in Karpathy's splits, "restval" counted to train.
CAPTION_SIZES = {
    "ovseg_coco_captions_test": 5000,
    "ovseg_coco_captions_val": 5000,
    "ovseg_coco_captions_train": 113287,
    "ovseg_flickr30k_test": 1000,
    "ovseg_flickr30k_val": 1014,
    "ovseg_flickr30k_train": 29000,
}


def check_captions(name: str, path: Path, workers: int) -> tuple[int, list[str]]:
    """Check the number of images, lines that cannot be read, and whether images are whole.

    Args:
        name: a key of `CAPTION_SIZES`.
        path: the file of captions.
        workers: number of processes.

    Returns:
        Number of images with captions, and sentences about what is wrong.
    """
    try:
        dicts = caption_dicts(path)
    except ValueError as error:
        return 0, [str(error)]
    findings = []
    left_out = LeftOut()
    num_lines = sum(1 for _ in read_json_lines(path, left_out)) + left_out.count
    if num_lines > len(dicts):
        findings.append(f"{num_lines - len(dicts)} lines of {path} cannot be used")
    if len(dicts) != CAPTION_SIZES[name]:
        findings.append(
            f"{len(dicts)} images have captions, and the split has {CAPTION_SIZES[name]}; remove "
            f"{path} and run python {command_of(name)}, with {where_to_get(name, 'labels')}"
        )
    files = [Path(entry["file_name"]) for entry in dicts]
    missing = [str(file) for file in files if not os.path.isfile(file)]
    if missing:
        findings.append(
            f"{len(missing)} images do not exist: {some_names(missing)}; get "
            f"{where_to_get(name, 'images')}"
        )
    there = [file for file in files if os.path.isfile(file)]
    results = run_parallel(_check_image, there, workers, f"checking {name}")
    return len(dicts), findings + group_problems(sorted(results, key=lambda result: result.stem))


def _check_image(path: Path) -> PairResult:
    try:
        image_size(path)
    except ImageReadError as error:
        return PairResult(path.stem, {"images that cannot be read": str(error)}, ())
    return PairResult(path.stem, {}, ())
