"""Owners' archives: listed and unpacked by `Preparation`, whatever their names and bytes are."""

import io
import random
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness import Reader
from mutate import mutate_bytes

from ovseg_d2.prepare.datasets.preparation import Preparation

_KINDS = ("VOCtrainval_11-May-2012.tar", "SegmentationClassAug.zip", "trainval.tar.gz")
_NAMES = ("top/1.jpg", "top/a/2.jpg", "top/é.jpg", "./top/4.jpg", "top/.5.jpg", "top/6.txt")
_UNSAFE = (
    *("top/../../evil.jpg", "top//evil.jpg", "top/..\\evil.jpg", "top/C:evil.jpg"),
    *("top/./evil.jpg", "top/\0evil.jpg", f"top/{'a' * 300}.jpg", "top/\udcff.jpg", "top/.jpg"),
)


@dataclass
class _Case:
    folder: Path
    kind: str
    files: dict[str, bytes]  # that must be unpacked, if nothing is damaged
    damaged: bool


def _make_case(rng: random.Random, folder: Path) -> _Case:
    kind = rng.choice(_KINDS)
    names = rng.sample(_NAMES, rng.randint(1, len(_NAMES)))
    files = {name: rng.randbytes(rng.choice((0, 5, 3000))) for name in names}
    unsafe = rng.random() < 0.3
    if unsafe:
        files[rng.choice(_UNSAFE)] = b"evil"
    content = _pack(rng, kind, files, link=rng.random() < 0.1)
    damaged = rng.random() < 0.5
    if damaged:
        content = mutate_bytes(rng, content)
    (folder / "downloads").mkdir()
    (folder / "downloads" / kind).write_bytes(content)
    wanted = {
        name.removeprefix("./").removeprefix("top/"): content
        for name, content in files.items()
        if name.endswith(".jpg") and "/." not in name.removeprefix(".")
    }
    return _Case(folder, kind, wanted, damaged or unsafe)


def _pack(rng: random.Random, kind: str, files: dict[str, bytes], *, link: bool) -> bytes:
    stream = io.BytesIO()
    if kind.endswith(".zip"):
        with zipfile.ZipFile(stream, "w", rng.choice((0, 8, 12, 14))) as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
                info.compress_type = archive.compression
                info.external_attr = (0o120777 if link and rng.random() < 0.5 else 0) << 16
                archive.writestr(info, content)
        return stream.getvalue()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    form = tarfile.GNU_FORMAT if any(len(name) > 100 for name in files) else form
    with tarfile.open(fileobj=stream, mode="w:gz" if "gz" in kind else "w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if link and rng.random() < 0.5:
                info.type, info.size, info.linkname = tarfile.SYMTYPE, 0, "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _read(case: _Case) -> dict[str, bytes]:
    job = Preparation(case.folder / "root", case.folder / "downloads", workers=1)
    job.unpack(case.kind, "top", "out", ".jpg")
    out = case.folder / "root" / "out"
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def _check(case: _Case, answer: dict[str, bytes]) -> str | None:
    others = [
        path
        for path in case.folder.rglob("*")
        if path.is_symlink()
        or (path.is_file() and not path.is_relative_to(case.folder / "root" / "out"))
    ]
    if others != [case.folder / "downloads" / case.kind]:
        return f"wrote {others}"
    if not case.damaged and not set(answer.items()) <= set(case.files.items()):
        return f"unpacked {answer}"
    return None


READER = Reader("archives", _make_case, _read, _check)
