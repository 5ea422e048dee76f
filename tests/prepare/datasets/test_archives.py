"""Unpacking: only regular files, only below their folder, only as large as announced."""

import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from ovseg_d2.prepare.datasets import archives
from ovseg_d2.prepare.datasets.name_lists import read_names
from ovseg_d2.prepare.datasets.preparation import Preparation

ARCHIVE = "VOCtrainval_11-May-2012.tar"
ZIP = "SegmentationClassAug.zip"


def run(mini, archive: str = ARCHIVE, **options) -> Preparation:
    job = Preparation(mini.root, mini.downloads, workers=1, overwrite=options.pop("again", False))
    job.unpack(archive, "top", "out", ".jpg", **options)
    return job


@pytest.mark.parametrize("archive", [ARCHIVE, ZIP, "trainval.tar.gz"])
def test_unpack_takes_wanted_files_alone(mini, archive: str) -> None:
    files = {"top/a/1.jpg": b"one", "top/2.jpg": b"two", "top/3.txt": b"", "else/4.jpg": b"four"}
    mini.pack(archive, files)
    assert run(mini, archive).problems == []
    assert (mini.root / "out/a/1.jpg").read_bytes() == b"one"
    written = [name for _, _, names in os.walk(mini.root) for name in names]
    assert sorted(written) == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("archive", [ARCHIVE, ZIP, "trainval.tar.gz"])
@pytest.mark.parametrize("name", ["top/../../evil.jpg", "top//evil.jpg", "top/a\\..\\evil.jpg"])
def test_unpack_refuses_members_that_lead_out(mini, archive: str, name: str) -> None:
    mini.pack(archive, {"top/1.jpg": b"one", name: b"evil"})
    with pytest.raises(archives.ArchiveError, match="has an unsafe name"):
        run(mini, archive)
    assert not list(mini.root.rglob("*.jpg"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_unpack_refuses_links_and_devices_of_a_tar(mini, kind: bytes) -> None:
    with tarfile.open(mini.downloads / ARCHIVE, "w") as archive:
        info = tarfile.TarInfo("top/1.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(archives.ArchiveError, match="is a link or a device"):
        run(mini)


def test_unpack_refuses_links_of_a_zip(mini) -> None:
    with zipfile.ZipFile(mini.downloads / ZIP, "w") as archive:
        info = zipfile.ZipInfo("top/1.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(archives.ArchiveError, match="is a link or a device"):
        run(mini, ZIP)


def test_unpack_refuses_members_larger_than_allowed(mini, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 100)
    mini.pack(ZIP, {"top/1.jpg": bytes(101)})
    with pytest.raises(archives.ArchiveError, match="has 101 bytes"):
        run(mini, ZIP)


def test_unpack_reads_no_more_than_a_zip_announces(mini) -> None:
    path = mini.pack(ZIP, {"top/1.jpg": bytes(10**6)})
    content = bytearray(path.read_bytes())
    size = content.rindex(b"PK\1\2") + 24  # uncompressed size in the directory
    content[size : size + 4] = struct.pack("<I", 10)
    path.write_bytes(content)
    with pytest.raises(archives.ArchiveError, match="damaged"):
        run(mini, ZIP)
    assert not list(mini.root.rglob("*.jpg"))


@pytest.mark.parametrize("archive", [ARCHIVE, ZIP, "trainval.tar.gz"])
def test_unpack_names_a_truncated_archive(mini, archive: str) -> None:
    path = mini.pack(archive, {f"top/{i}.jpg": os.urandom(5000) for i in range(4)})
    path.write_bytes(path.read_bytes()[:12000])
    with pytest.raises(archives.ArchiveError, match="truncated"):
        run(mini, archive)
    assert not list(mini.root.rglob("*.tmp"))


@pytest.mark.parametrize("name, mode", [(ARCHIVE, "gz"), (ARCHIVE, "xz"), ("trainval.tar.gz", "")])
def test_unpack_goes_by_the_content_of_an_archive(mini, name: str, mode: str) -> None:
    """Browsers unpack one layer, and others compress again."""
    with tarfile.open(mini.downloads / name, f"w:{mode}") as archive:
        info = tarfile.TarInfo("top/1.jpg")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"a" * 5000))
    assert run(mini, name).problems == []
    assert (mini.root / "out/1.jpg").read_bytes() == b"a" * 5000


def test_unpack_names_what_an_archive_lacks(mini) -> None:
    mini.pack(ARCHIVE, {"top/1.jpg": b"one"})
    (problem,) = run(mini, names=["1", "2"]).problems
    assert "lacks 1 files (top/2.jpg); download it again" in problem


def test_unpack_reports_half_written_files_of_other_programs(mini) -> None:
    mini.pack(ARCHIVE, {"top/1.jpg": b"whole", "top/2.jpg": b"two"})
    mini.unpack({"1.jpg": b"wh"}, "out")
    (problem,) = run(mini, count=2).problems
    assert "1.jpg has 2 bytes, and 5 in its archive" in problem
    assert run(mini, count=2, again=True).problems == []
    assert (mini.root / "out/1.jpg").read_bytes() == b"whole"


def test_unpack_does_not_open_an_archive_that_is_not_needed(mini) -> None:
    (mini.downloads / ARCHIVE).write_bytes(b"no archive")
    mini.unpack({"1.jpg": b"one"}, "out")
    assert run(mini, names=["1"]).problems == []


def test_unpack_goes_on_without_an_archive_if_few_files_are_missing(mini) -> None:
    mini.unpack({"1.jpg": b"one"}, "out")
    (problem,) = run(mini, names=["1", "2"]).problems
    assert "lacks 1 files *.jpg (2), and there is no VOCtrainval" in problem


def test_preparation_refuses_a_missing_folder_and_no_workers(mini) -> None:
    with pytest.raises(NotADirectoryError, match="give the folder of the downloads"):
        Preparation(mini.root, mini.downloads / "none")
    with pytest.raises(ValueError, match="--workers is 0"):
        Preparation(mini.root, workers=0)


@pytest.mark.parametrize("content", [b"", b"../a\n", b"/a\n", b"a\0b\n", b"\xff\n"])
def test_read_names_refuses_what_is_no_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(ValueError, match="unpack it again"):
        read_names(tmp_path / "val.txt")


def test_unpack_refuses_sparse_members(mini) -> None:
    info = tarfile.TarInfo("top/1.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    header = info.tobuf(tarfile.GNU_FORMAT)
    (mini.downloads / ARCHIVE).write_bytes(io.BytesIO(header).read() + bytes(1024))
    with pytest.raises(archives.ArchiveError, match="is a link or a device"):
        run(mini)
