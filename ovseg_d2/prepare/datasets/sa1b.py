"""SA-1B: its archives, unpacked as they are or halved."""

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from PIL import Image

from ...data.datasets.sa1b import SA1B_FOLDER, pair_sa1b
from ...data.images import read_image
from ...files import expand_user, write_atomically
from ...json_files import printable
from ...masks import MaskFileError, read_info
from .archives import Member, list_members, unpack_member
from .owners import owner_file
from .preparation import Preparation, PreparationReport
from .sa1b_halving import half_size, read_halved

__all__ = ["prepare_sa1b"]

_ARCHIVE = re.compile(r"sa_\d+\.tar")
_ALL_FILES = 2**31  # more than an archive has: a folder with fewer files may be unfinished
_QUALITY = 95  # of JPEG


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
    if half_size(*image.shape[:2]) != (height, width):
        raise ValueError(
            f"{printable(image_file)} has another size than its masks; unpack both again"
        )
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    with write_atomically(target.with_suffix(".jpg")) as file:
        Image.fromarray(pixels).save(file, format="JPEG", quality=_QUALITY)
    text = json.dumps(content)
    with write_atomically(target, "w") as file:
        file.write(text)
