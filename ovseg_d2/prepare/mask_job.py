"""Masks for many pictures: listed once, shared out to processes, one file each, resumable."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

from ..config import check_device, resolve_device
from ..d2.utils import comm
from ..data.find_images import find_images
from ..data.readers import read_image_of
from ..engine.processes import end_with_parent
from ..files import expand_user
from ..image_errors import ImageReadError, memory_for
from ..masks import MaskFileError, mask_file_name, read_info, write_masks
from .proposal_masks import build_source

__all__ = [
    "PATIENCE",
    "MaskJob",
    "join_torchrun",
    "plan_job",
    "process_device",
]

# How long a process that has done its share waits for the others.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class MaskJob:
    """Which masks to make, and where.

    Attributes:
        pictures: their names.
        paths: the mask file of each.
        source: a key of `ALL_MASK_SOURCES`.
        options: of the source.
    """

    pictures: tuple[str, ...]
    paths: tuple[Path, ...]
    source: str
    options: Mapping[str, Any]

    def run(self, device: str = "cpu") -> None:
        """Make this process's share: the files that are not there yet.

        A picture that cannot be read, or for which memory does not suffice, is reported and left
        out.

        Args:
            device: of the source's network, if it has one.

        Raises:
            ValueError: the source refuses its options, or files that are there were made otherwise.
            WriteError: a file cannot be written.
        """
        share = list(zip(self.pictures, self.paths, strict=True))
        share = share[comm.get_rank() :: comm.get_world_size()]
        info = {"source": self.source, **self.options}
        damaged = _check_kept([path for _, path in share if path.is_file()], info)
        todo = [(name, path) for name, path in share if path in damaged or not path.is_file()]
        if not todo:
            return
        source = build_source(self.source, self.options, device)
        bar = tqdm(total=len(share), initial=len(share) - len(todo), unit="picture")
        # Of several processes the first one's bar stands for all: their shares are alike.
        bar.disable = comm.get_rank() > 0
        with bar:
            for name, path in todo:
                try:
                    with memory_for(name):
                        masks = source(read_image_of(name), name)
                        write_masks(path, masks, file_name=name, info=info)
                except ImageReadError as error:
                    tqdm.write(f"left out: {error}", file=sys.stderr)
                bar.update()

    def missing(self) -> list[str]:
        """Pictures that have no masks (yet)."""
        pairs = zip(self.pictures, self.paths, strict=True)
        return [name for name, path in pairs if not path.is_file()]


def plan_job(
    inputs: Sequence[str], source: str, options: Mapping[str, Any], output: str | os.PathLike[str]
) -> MaskJob:
    """List the pictures and name their mask files.

    Args:
        inputs: see :func:`~ovseg_d2.data.find_images.find_images`.
        source: a key of `ALL_MASK_SOURCES`.
        options: of the source; they are noted in each file, and must be JSON.
        output: the folder of the mask files.

    Raises:
        ValueError: no such pictures, or two whose mask files would bear the same name.
    """
    pictures = find_images(inputs)
    named: dict[str, str] = {}
    for picture in pictures:
        other = named.setdefault(mask_file_name(picture), picture)
        if other != picture:
            raise ValueError(
                f"{other} and {picture} would share the mask file {mask_file_name(picture)!r}; "
                "give them output folders of their own"
            )
    paths = tuple(expand_user(output) / name for name in named)
    return MaskJob(tuple(pictures), paths, source, dict(options))


@contextmanager
def join_torchrun(num_processes: int) -> Iterator[None]:
    """Join the processes that ``torchrun`` has started, if it has, and leave together with them.

    A process that left first with an error code would take the others down in their work. All end
    when ``torchrun`` is killed.

    Args:
        num_processes: what each process is asked to start itself: 1, under torchrun.

    Raises:
        ValueError: processes from both.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if num_processes != 1:
        raise ValueError(
            f"torchrun has started {os.environ['WORLD_SIZE']} processes already; leave out "
            f"--num-gpus {num_processes}"
        )
    end_with_parent(os.getppid())
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def process_device(name: str, *, argument: str = "MODEL.DEVICE") -> str:
    """The device of one of several processes, ``auto`` resolved; of CUDA each gets its own.

    Args:
        name: of a device.
        argument: the config key or option that holds it, for errors.

    Raises:
        ValueError: no name of a device, or a device that is not there or not supported.
    """
    device = resolve_device(name, argument=argument)
    check_device(device, argument=argument)
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return device


def _check_kept(paths: Sequence[Path], info: Mapping[str, Any]) -> set[Path]:
    """Refuse to go on in a folder whose masks were made in another way, by its first whole file.

    Returns:
        Damaged files before that one, which are reported.

    Raises:
        ValueError: masks made in another way.
        MaskFileError: no file is whole.
    """
    damaged: dict[Path, MaskFileError] = {}
    for path in paths:
        try:
            kept = read_info(path)
        except MaskFileError as error:
            damaged[path] = error
            continue
        if kept != info:
            raise ValueError(
                f"{path} was made by {kept or 'something else'}, and what is asked for is "
                f"{dict(info)}; choose another output folder, or remove the files to make them anew"
            )
        for error in damaged.values():
            tqdm.write(f"made again: {error}", file=sys.stderr)
        return set(damaged)
    for error in damaged.values():
        raise error
    return set()
