"""SA-1B: unpacking its archives, and halving images and masks."""

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
from PIL import Image

from ...data.datasets.sa1b import SA1B_FOLDER, pair_sa1b
from ...data.images import read_image
from ...files import expand_user, write_atomically
from ...json_files import printable, shorten
from ...masks import MaskFileError, decode_masks, encode_masks, nearest_pixels, read_info
from .archives import Member, list_members, unpack_member
from .owners import owner_file
from .preparation import Preparation, PreparationReport, read_unpacked_json

__all__ = ["halve_masks", "prepare_sa1b", "read_halved"]

_ARCHIVE = re.compile(r"sa_\d+\.tar")
_ALL_FILES = 2**31  # more than an archive has: a folder with fewer files may be unfinished
_MOST_BYTES = 2**29
_MOST_PIXELS = 65535  # of a side, as for images
_QUALITY = 95  # of JPEG
_BOXES = ("bbox", "crop_box")
_KEPT = ("id", "predicted_iou", "stability_score")
_FAR = 10**12  # numbers of SA-1B are smaller


def prepare_sa1b(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    halve: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and masks of ``ovseg_sa1b_train`` in the folder ``sa1b`` of the root.

    ``sa_000020.tar`` becomes the folder ``sa1b/sa_000020``, where an image and its masks lie side
    by side.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of any number of archives ``sa_*.tar``; to halve them, of unpacked ones,
            too, in a layout of `pair_sa1b`. None takes `root`.
        halve: whether images and masks get half the height and half the width, with which
            PixelCLIP's authors trained: decoding takes a quarter of the time.
        workers: number of processes; None takes one for each CPU.
        overwrite: whether files that exist are written again.

    Raises:
        ValueError: a damaged or unsafe archive, or files of the other size are there.
        OSError: there is no archive, or a file cannot be written.
    """
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    source = job.root if archives is None else expand_user(archives)
    target = job.root / SA1B_FOLDER
    tars = sorted(path for path in source.glob("sa_*.tar") if _ARCHIVE.fullmatch(path.name))
    if not overwrite:
        _check_size_of(target, halve=halve)
    if not tars and halve and archives is not None:
        if source.resolve() == target.resolve():
            raise ValueError(
                f"--archives {source} is the folder of the halved files; move what is there to "
                "another folder, and give that"
            )
        _halve_unpacked(job, source, target)
    elif not tars:
        raise FileNotFoundError(
            f"there are no archives sa_*.tar in {source}; download some of {owner_file('sa_*.tar')}"
            ", and give their folder with --archives"
        )
    for path in tars:
        if halve:
            _halve_packed(job, path, target / path.stem)
        else:
            job.unpack(path.name, "", f"{SA1B_FOLDER}/{path.stem}", "", count=_ALL_FILES)
    return job.report()


def halve_masks(content: Any) -> dict[str, Any]:
    """Halve the masks of an image of SA-1B, by nearest pixels.

    Args:
        content: of its file: ``{"image": {"height", "width"}, "annotations": [{"segmentation",
            "bbox", "point_coords", "crop_box", "area"}]}``.

    Returns:
        The content with half the sides, rounded down, in SA-1B's fields; masks that vanish are
        left out. "info" says that it is halved.

    Raises:
        ValueError: another form, or a mask that does not decode; the text continues a file's name.
    """
    match content:
        case {
            "image": {"height": int(height), "width": int(width)} as image,
            "annotations": [*annotations],
        } if 0 < min(height, width) and max(height, width) <= _MOST_PIXELS:
            size = _half(height, width)
        case _:
            raise ValueError("is not in SA-1B's format; unpack it again")
    halved = []
    for number, annotation in enumerate(annotations):
        try:
            if smaller := _halve_annotation(annotation, (height, width)):
                halved.append(smaller)
        except ValueError as error:
            reason = str(error).removeprefix("number 0 ")
            raise ValueError(f"is damaged: mask {number} {reason}; unpack it again") from error
        except (KeyError, TypeError) as error:
            raise ValueError(f"is damaged: mask {number} is no mask; unpack it again") from error
    names = {key: image[key] for key in ("image_id", "file_name") if _is_name(image.get(key))}
    image = {**names, "height": size[0], "width": size[1]}
    return {"image": image, "annotations": halved, "info": {"halved": True}}


def read_halved(path: Path) -> dict[str, Any]:
    """Read a file of SA-1B's masks, halved as by `halve_masks`.

    Raises:
        ValueError: the file cannot be read or used; the sentence names it.
    """
    content = read_unpacked_json(path, max_bytes=_MOST_BYTES)
    try:
        return halve_masks(content)
    except ValueError as error:
        raise ValueError(f"{printable(path)} {error}") from error


def _half(height: int, width: int) -> tuple[int, int]:
    return max(1, height // 2), max(1, width // 2)


def _halve_annotation(annotation: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """Halve a mask and its coordinates; None if the mask vanishes."""
    rows, columns = (nearest_pixels(old, new) for old, new in zip(size, _half(*size), strict=True))
    # All masks of an image at once would take some hundred megabytes.
    mask = decode_masks([annotation["segmentation"]], size)[0]
    mask = mask.T[columns].take(rows, axis=1).T[None]  # in memory, columns lie one after the other
    if not mask.any():
        return None
    factors = len(columns) / size[1], len(rows) / size[0]
    result = {key: annotation[key] for key in _KEPT if _is_number(annotation.get(key))}
    result |= {key: _scale(annotation[key], factors) for key in _BOXES if key in annotation}
    if "point_coords" in annotation:
        result["point_coords"] = [_scale(xy, factors) for xy in annotation["point_coords"]]
    return {**result, "segmentation": encode_masks(mask)[0], "area": int(mask.sum())}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _FAR


def _scale(numbers: Any, factors: tuple[float, float]) -> list[float]:
    """Scale x and y, which alternate."""
    if not all(map(_is_number, numbers)):
        raise ValueError(f"has the coordinates {shorten(numbers)}, which are no numbers")
    return [number * factors[at % 2] for at, number in enumerate(numbers)]


def _check_size_of(folder: Path, *, halve: bool) -> None:
    """Refuse to mix images of both sizes.

    Raises:
        ValueError: the first file of masks has the other size.
    """
    for path in folder.rglob("*.json"):
        try:
            halved = bool(read_info(path).get("halved"))
        except MaskFileError:
            continue
        if halved == halve:
            return
        kind, other = ("full", "with") if halve else ("half the", "without")
        raise ValueError(
            f"{printable(path)} has {kind} size, and the command is {other} --halve; give another "
            "--root, or move the folder away"
        )


def _halve_packed(job: Preparation, path: Path, target: Path) -> None:
    members: dict[str, dict[str, Member]] = {}
    for member in list_members(path, lambda name: name.endswith((".jpg", ".json"))):
        stem, _, suffix = member.name.rpartition("/")[2].rpartition(".")
        members.setdefault(stem, {})[suffix] = member
    whole = {stem: pair for stem, pair in members.items() if len(pair) == 2}
    if len(whole) < len(members):
        job.problems.append(
            f"{printable(path)} has {len(members) - len(whole)} images without masks, or masks "
            "without an image; download it again"
        )
    tasks = [
        ((path, pair["jpg"], pair["json"]), target / f"{stem}.json")
        for stem, pair in sorted(whole.items())
    ]
    job.convert(_halve_members, tasks, f"halving {path.name}")


def _halve_unpacked(job: Preparation, source: Path, target: Path) -> None:
    pairs, images, masks = pair_sa1b(source)
    if not pairs:
        raise FileNotFoundError(
            f"there are neither archives sa_*.tar nor images with masks in {source}; download some "
            f"of {owner_file('sa_*.tar')}, and give their folder with --archives"
        )
    if images or masks:
        job.problems.append(
            f"{source} has {len(images)} images without masks, and {len(masks)} files of masks "
            "without an image; unpack the archives again"
        )
    tasks = [
        ((source / f"{image}.jpg", source / f"{mask}.json"), target / f"{_side(image)}.json")
        for image, mask in sorted(pairs.items())
    ]
    job.convert(_halve_files, tasks, "halving SA-1B")


def _side(image: str) -> str:
    """Path of an image that lies beside its masks."""
    return image.removeprefix("images/")


def _halve_members(source: tuple[Path, Member, Member], target: Path) -> None:
    path, image, masks = source
    with TemporaryDirectory() as folder:
        files = Path(folder) / f"{target.stem}.jpg", Path(folder) / target.name
        unpack_member(path, image, files[0])
        unpack_member(path, masks, files[1])
        try:
            _halve_files(files, target)
        except ValueError as error:
            raise ValueError(f"{printable(path)}, {image.name}: {error}") from error


def _halve_files(source: tuple[Path, Path], target: Path) -> None:
    """Halve an image and its masks; the masks, which mark the pair as finished, come last."""
    image_file, masks_file = source
    content = read_halved(masks_file)
    image = read_image(image_file)
    height, width = content["image"]["height"], content["image"]["width"]
    if _half(*image.shape[:2]) != (height, width):
        raise ValueError(
            f"{printable(image_file)} has another size than its masks; unpack both again"
        )
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    with write_atomically(target.with_suffix(".jpg")) as file:
        Image.fromarray(pixels).save(file, format="JPEG", quality=_QUALITY)
    text = json.dumps(content)
    with write_atomically(target, "w") as file:
        file.write(text)
