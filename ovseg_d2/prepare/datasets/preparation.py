"""The steps of a preparation: unpack what is needed, convert it, report what could not be used."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...data.datasets.benchmarks import datasets_root, list_stems
from ...files import WriteError, expand_user
from ...json_files import printable
from .archives import Member, is_seekable, list_members, unpack_member, unpack_stream
from .name_lists import some_names
from .owners import owner_file
from .parallel import check_workers, run_parallel

__all__ = [
    "Preparation",
    "PreparationReport",
    "check_splits",
    "tasks_for",
]


@dataclass(frozen=True)
class PreparationReport:
    """Result of a preparation.

    Attributes:
        made: number of files written.
        kept: number of files that were there before.
        problems: a sentence for each file that could not be used.
    """

    made: int
    kept: int
    problems: tuple[str, ...]


class Preparation:
    """Unpacks and converts files below a folder; what is there already is kept.

    Every file is written whole, so that a file that exists is finished, and an interrupted
    preparation goes on where it stopped.

    Attributes:
        root: folder of all datasets.
        problems: sentences about files that could not be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        archives: str | os.PathLike[str] | None = None,
        *,
        workers: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Choose the folders.

        Args:
            root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
            archives: folder of the owners' archives; None takes `root`.
            workers: number of processes; None takes one for each CPU.
            overwrite: whether files that exist are written again.

        Raises:
            ValueError: fewer than 1 process.
            NotADirectoryError: the folder of the archives does not exist.
        """
        self.root = datasets_root() if root is None else expand_user(root)
        self._archives = self.root if archives is None else expand_user(archives)
        if archives is not None and not self._archives.is_dir():
            raise NotADirectoryError(
                f"--archives {self._archives} is no folder; give the folder of the downloads"
            )
        self._workers = check_workers(workers)
        self._overwrite = overwrite
        self._made = self._kept = 0
        self.problems: list[str] = []

    def report(self) -> PreparationReport:
        """Numbers and problems of all steps so far."""
        return PreparationReport(self._made, self._kept, tuple(self.problems))

    def find(self, file: str, *usual: str) -> Path | None:
        """Find an owner's file.

        Args:
            file: name in the folder of archives, or below the root.
            *usual: further places below the root, where the file lies unpacked.

        Returns:
            The first place that has the file; None if there is none.
        """
        places = [*(self.root / place for place in usual), self._archives / file, self.root / file]
        return next((place for place in places if place.is_file()), None)

    def need(self, file: str, *usual: str) -> Path:
        """Find an owner's file that cannot be missing.

        Arguments and result are those of `find`.

        Raises:
            FileNotFoundError: there is none.
        """
        path = self.find(file, *usual)
        if path is None:
            raise FileNotFoundError(
                f"there is no {file} in {self._archives}; download {owner_file(file)}, and give "
                "its folder with --archives"
            )
        return path

    def unpack(
        self,
        archive: str,
        inner: str,
        folder: str,
        suffix: str,
        *,
        names: Collection[str] | None = None,
        count: int = 1,
        required: bool = True,
    ) -> Path:
        """Make sure that files of an archive lie in a folder.

        The archive is not opened if they do. A file of another size than in the archive is a
        problem, and is written again only with `overwrite`.

        Args:
            archive: file of `OWNER_FILES`.
            inner: folder in the archive, without a slash at the end; "" is the top.
            folder: folder below the root.
            suffix: end of the files' names.
            names: paths of the files below the folders, without `suffix`; None takes all files.
            count: number of files that are enough, if `names` is None.
            required: whether it is a problem if neither the folder nor an archive has files.

        Returns:
            The folder.

        Raises:
            FileNotFoundError: no file is there, and no archive.
            ArchiveError: the archive is damaged or not safe.
            WriteError: a file cannot be written.
        """
        target = self.root / folder
        there = list_stems(target, suffix) if names is None else _existing(target, suffix, names)
        lacking = (count if names is None else len(set(names))) - len(there)
        path = self.find(archive)
        if lacking <= 0 and not (self._overwrite and path):
            self._kept += len(there)
        elif path is not None:
            self._unpack_from(path, inner, target, suffix, names, required)
        elif required:
            self._kept += len(there)
            missing = "" if names is None else f" ({some_names(sorted(set(names) - there))})"
            problem = (
                f"{target} lacks {lacking} files *{suffix}{missing}, and there is no {archive} in "
                f"{self._archives}; download {owner_file(archive)}, and give its folder with "
                "--archives"
            )
            if not there:
                raise FileNotFoundError(problem)
            self.problems.append(problem)
        return target

    def convert(
        self,
        function: Callable[[Any, Path], None],
        tasks: Sequence[tuple[Any, Path]],
        what: str,
    ) -> None:
        """Make a file from each source; sources that cannot be used become problems.

        Args:
            function: picklable; it writes the target of a task atomically, and raises a ValueError
                or an OSError with a sentence about a source that it cannot use.
            tasks: sources, such as paths, and the files to write.
            what: the work, for the progress bar.

        Raises:
            WriteError: a file cannot be written.
            ValueError: a process was killed.
        """
        todo = [task for task in tasks if self._overwrite or not task[1].is_file()]
        self._kept += len(tasks) - len(todo)
        for problem in run_parallel(partial(_convert, function), todo, self._workers, what):
            if problem:
                self.problems.append(problem)
            else:
                self._made += 1

    def _unpack_from(
        self,
        path: Path,
        inner: str,
        target: Path,
        suffix: str,
        names: Collection[str] | None,
        required: bool,
    ) -> None:
        prefix = f"{inner}/" if inner else ""
        wanted = None if names is None else {f"{prefix}{name}{suffix}" for name in names}

        def is_wanted(name: str) -> bool:
            if wanted is not None:
                return name in wanted
            hidden = name.rpartition("/")[2].startswith(".")  # "._name" of macOS
            return name.startswith(prefix) and name.endswith(suffix) and not hidden

        members = {
            member: target / member.name.removeprefix(prefix)
            for member in list_members(path, is_wanted)
        }
        absent = (wanted or set()) - {member.name for member in members}
        absent = {name for name in absent if not (target / name.removeprefix(prefix)).is_file()}
        if absent:
            self.problems.append(
                f"{printable(path)} lacks {len(absent)} files ({some_names(sorted(absent))}); "
                "download it again"
            )
        if not members and required:
            raise FileNotFoundError(
                f"{printable(path)} has no files {prefix}*{suffix}; download it again"
            )
        todo = {
            member: file
            for member, file in members.items()
            if self._is_unfinished(file, member.size)
        }
        self._kept += len(members) - len(todo)
        self._unpack_all(path, todo)

    def _is_unfinished(self, path: Path, size: int) -> bool:
        if self._overwrite or not path.is_file():
            return True
        if path.stat().st_size != size:
            self.problems.append(
                f"{printable(path)} has {path.stat().st_size} bytes, and {size} in its archive; "
                "remove it, or give --overwrite"
            )
        return False

    def _unpack_all(self, path: Path, todo: dict[Member, Path]) -> None:
        what = f"unpacking {path.name}"
        if is_seekable(path):
            tasks = list(todo.items())
            for _ in run_parallel(partial(_unpack_one, path), tasks, self._workers, what):
                self._made += 1
            return
        targets = {member.name: target for member, target in todo.items()}
        stream = unpack_stream(path, targets)
        for _ in tqdm(stream, total=len(targets), desc=what, unit="file", disable=None):
            self._made += 1


def check_splits(splits: Collection[str], known: Collection[str] = ("val", "train")) -> None:
    """Check the names of splits.

    Raises:
        ValueError: none, or an unknown one.
    """
    if not splits or not set(splits) <= set(known):
        raise ValueError(f"splits are {list(splits)}; give some of {', '.join(known)}")


def tasks_for(
    source: Path, suffix: str, target: Path, new_suffix: str, *, flat: bool = False
) -> list[tuple[Path, Path]]:
    """Files below a folder, each with the file to make of it.

    Args:
        source: folder of the files.
        suffix: end of their names.
        target: folder of the new files, which have the same paths below it.
        new_suffix: end of the new files' names.
        flat: the new files lie directly in the folder.
    """
    stems = sorted(list_stems(source, suffix))
    names = [stem.rpartition("/")[2] if flat else stem for stem in stems]
    return [
        (source / f"{stem}{suffix}", target / f"{name}{new_suffix}")
        for stem, name in zip(stems, names, strict=True)
    ]


def _existing(folder: Path, suffix: str, names: Collection[str]) -> set[str]:
    return {name for name in names if (folder / f"{name}{suffix}").is_file()}


def _convert(function: Callable[[Any, Path], None], task: tuple[Any, Path]) -> str | None:
    try:
        function(*task)
    except WriteError:
        raise
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _unpack_one(path: Path, task: tuple[Member, Path]) -> None:
    unpack_member(path, *task)
