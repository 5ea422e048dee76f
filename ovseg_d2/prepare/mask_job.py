"""Making the mask files of many images: resumable, and shared by the processes of a job."""

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
from ..files import expand_user
from ..image_errors import ImageReadError, memory_for
from ..masks import MaskFileError, mask_file_name, read_info, write_masks
from ..parent_watch import end_with_parent
from .proposal_masks import build_source

__all__ = [
    "PATIENCE",
    "MaskJob",
    "join_torchrun",
    "plan_job",
    "process_device",
]

# Waiting time of a process that has done its share for the others.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class MaskJob:
    """The images, their mask files, and the mask source.

    Attributes:
        images: names of the images.
        paths: their mask files.
        source: a key of `ALL_MASK_SOURCES`.
        options: of the source.
    """

    images: tuple[str, ...]
    paths: tuple[Path, ...]
    source: str
    options: Mapping[str, Any]

    def run(self, device: str = "cpu") -> None:
        """Make the missing files of this process's share.

        An image that cannot be read, or that does not fit into memory, is reported and left out.

        Args:
            device: of the source's network, if it has one.

        Raises:
            ValueError: the source refuses its options, or existing files have another source or
                other options.
            WriteError: a file cannot be written.
        """
        share = list(zip(self.images, self.paths, strict=True))
        share = share[comm.get_rank() :: comm.get_world_size()]
        info = {"source": self.source, **self.options}
        damaged = _check_kept([path for _, path in share if path.is_file()], info)
        todo = [(name, path) for name, path in share if path in damaged or not path.is_file()]
        if not todo:
            return
        source = build_source(self.source, self.options, device)
        bar = tqdm(total=len(share), initial=len(share) - len(todo), unit="image")
        # The shares of the processes are alike, so that the first one's bar stands for all.
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
        """Names of the images without a mask file."""
        pairs = zip(self.images, self.paths, strict=True)
        return [name for name, path in pairs if not path.is_file()]


def plan_job(
    inputs: Sequence[str], source: str, options: Mapping[str, Any], output: str | os.PathLike[str]
) -> MaskJob:
    """List the images and name their mask files.

    Args:
        inputs: see :func:`~ovseg_d2.data.find_images.find_images`.
        source: a key of `ALL_MASK_SOURCES`.
        options: of the source, as JSON values; they are noted in each file.
        output: the folder of the mask files.

    Raises:
        ValueError: no images, or two images with the same mask file.
    """
    images = find_images(inputs)
    named: dict[str, str] = {}
    for image in images:
        other = named.setdefault(mask_file_name(image), image)
        if other != image:
            raise ValueError(
                f"{other} and {image} would share the mask file {mask_file_name(image)!r}; choose "
                "different output folders"
            )
    paths = tuple(expand_user(output) / name for name in named)
    return MaskJob(tuple(images), paths, source, dict(options))


@contextmanager
def join_torchrun(num_processes: int) -> Iterator[None]:
    """Join the processes of ``torchrun``, if it has started any, and leave together with them.

    A process that left first with an error code would end the others during their work. All end
    when ``torchrun`` is killed.

    Args:
        num_processes: ``--num-gpus`` of this process; 1 under torchrun.

    Raises:
        ValueError: both torchrun and ``--num-gpus`` start processes.
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
    """The device of a process; ``auto`` is resolved, and each process takes its own CUDA device.

    Args:
        name: of a device.
        argument: config key or option of the name, for errors.

    Raises:
        ValueError: an unknown name, or a device that is missing or not supported.
    """
    device = resolve_device(name, argument=argument)
    check_device(device, argument=argument)
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return device


def _check_kept(paths: Sequence[Path], info: Mapping[str, Any]) -> set[Path]:
    """Check by the first undamaged file that a folder's masks have this source and its options.

    Returns:
        The damaged files before that one, which are reported.

    Raises:
        ValueError: another source or other options.
        MaskFileError: all files are damaged.
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
                f"{path} was made by {kept or 'another program'}, and this command has "
                f"{dict(info)}; choose another output folder, or remove the files"
            )
        for error in damaged.values():
            tqdm.write(f"made again: {error}", file=sys.stderr)
        return set(damaged)
    for error in damaged.values():
        raise error
    return set()
