import errno
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_d2 import files
from ovseg_d2.files import (
    WriteError,
    check_output_dir,
    clear_leftovers,
    expand_user,
    shorten_stem,
    write_atomically,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_bytes_and_text_appear_under_their_name_only(tmp_path):
    with write_atomically(tmp_path / "new" / "deep" / "a.bin") as file:
        file.write(b"\x00\xff")
        assert not (tmp_path / "new/deep/a.bin").exists()
    with write_atomically(tmp_path / "new" / "b.txt", "w", newline="\n") as file:
        file.write("grün ★\n")
    assert (tmp_path / "new/deep/a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "new/b.txt").read_bytes() == "grün ★\n".encode()
    assert names(tmp_path / "new") == ["b.txt", "deep"]
    assert names(tmp_path / "new/deep") == ["a.bin"]


def test_relative_name_with_spaces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with write_atomically("my result.json", "w") as file:
        file.write("{}")
    assert names(tmp_path) == ["my result.json"]


def test_longest_name_the_file_system_allows(tmp_path):
    with write_atomically(tmp_path / ("é" * 127)) as file:
        file.write(b"x")
    assert names(tmp_path) == ["é" * 127]


def test_other_encoding_is_kept(tmp_path):
    with write_atomically(tmp_path / "a.txt", "w", encoding="latin-1") as file:
        file.write("ü")
    assert (tmp_path / "a.txt").read_bytes() == b"\xfc"


def test_permissions_are_kept_or_follow_the_umask(tmp_path):
    old = tmp_path / "old"
    old.write_bytes(b"1")
    old.chmod(0o640)
    before = os.umask(0o022)
    try:
        for name in ("old", "new"):
            with write_atomically(tmp_path / name) as file:
                file.write(b"2")
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o644


def test_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real/a")
    with write_atomically(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/a").read_text() == "new"


def test_pipe_is_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with write_atomically(pipe) as file:
            file.write(b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("error", [KeyError("bug"), KeyboardInterrupt()])
def test_interrupted_block_leaves_the_former_file(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error)) as caught, write_atomically(path) as file:
        file.write(b"half of the ne")
        raise error
    assert caught.value is error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSPC, "full"), (errno.EDQUOT, "quota"), (errno.EIO, "disk")]
)
@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_full_disk_names_path_and_remedy(tmp_path, monkeypatch, number, word, when):
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(number, os.strerror(number))

    if when != "write":
        monkeypatch.setattr(os, when, fail)
    with pytest.raises(WriteError) as caught, write_atomically(path) as file:
        file.write(b"new")
        if when == "write":
            fail()
    monkeypatch.undo()
    assert caught.value.errno == number
    assert str(path) in str(caught.value)
    assert word in str(caught.value)
    assert "choose another folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.pth"]


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_real_refusal_of_the_system_halfway(tmp_path, mode):
    """A file-size limit of the process makes the kernel refuse, as a full disk does."""
    code = f"""
        import resource, runpy, sys
        files = runpy.run_path("ovseg_d2/files.py")
        WriteError, write_atomically = files["WriteError"], files["write_atomically"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with write_atomically(sys.argv[1], {mode!r}) as file:
                for _ in range(1000):
                    file.write({"b'x'" if mode == "wb" else "'x'"} * 1000)
        except WriteError as error:
            sys.exit(str(error))
    """
    path = tmp_path / "log"
    path.write_text("old")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert f"cannot write {path}: the file grew past the largest size" in result.stderr
    assert path.read_text() == "old"
    assert names(tmp_path) == ["log"]


class FullDisk:
    """A file object whose disk is full after `room` bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def test_full_disk_behind_torch_save(tmp_path):
    """torch.save reports positions in its archive; the person must hear about the disk."""
    path = tmp_path / "model.pth"
    torch.save({"old": torch.ones(3)}, path)
    with pytest.raises(WriteError, match="the disk is full") as caught:
        with write_atomically(path) as file:
            torch.save({"new": torch.zeros(100_000)}, FullDisk(file, 5000))
    assert caught.value.errno == errno.ENOSPC
    assert torch.equal(torch.load(path)["old"], torch.ones(3))
    assert names(tmp_path) == ["model.pth"]


def test_error_handled_around_the_block_is_ignored(tmp_path):
    with pytest.raises(RuntimeError, match="bug"):
        try:
            raise OSError(errno.ENOSPC, "another disk is full")
        except OSError:
            with write_atomically(tmp_path / "a"):
                raise RuntimeError("bug")  # noqa: B904


def test_errors_of_other_files_are_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, write_atomically(tmp_path / "a"):
        open(tmp_path / "input")
    assert not isinstance(caught.value, WriteError)
    with pytest.raises(WriteError) as caught, write_atomically(tmp_path / "outer"):
        with write_atomically("/proc/no/inner"):
            pass
    assert caught.value.filename == "/proc/no/inner"
    assert names(tmp_path) == []


@pytest.mark.parametrize("below", ["file/a.json", "file/deep/er/a.json"])
def test_file_where_a_folder_is_needed(tmp_path, below):
    (tmp_path / "file").write_text("old")
    with pytest.raises(WriteError, match="is a file and not a folder") as caught:
        with write_atomically(tmp_path / below):
            pytest.fail("the block must not run")
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)
    assert str(tmp_path / below) in str(caught.value)
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "the system says"),
    ],
)
def test_file_that_cannot_be_opened(tmp_path, monkeypatch, number, words):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number), args[0])

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(WriteError, match=words) as caught, write_atomically(tmp_path / "a"):
        pytest.fail("the block must not run")
    assert caught.value.errno == number
    assert caught.value.filename == str(tmp_path / "a")


def test_folder_name_given_for_a_file(tmp_path):
    with pytest.raises(WriteError, match="it is a folder") as caught, write_atomically(tmp_path):
        pytest.fail("the block must not run")
    assert caught.value.errno == errno.EISDIR


def test_folder_that_cannot_be_made():
    with pytest.raises(WriteError, match="cannot write /proc/nowhere/a.json"):
        with write_atomically("/proc/nowhere/a.json"):
            pytest.fail("the block must not run")


def test_too_long_a_name(tmp_path):
    with pytest.raises(WriteError, match="too long"), write_atomically(tmp_path / ("a" * 300)):
        pytest.fail("the block must not run")
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", ["a", "r", "x", "rb", ""])
def test_other_modes_are_refused(tmp_path, mode):
    with pytest.raises(ValueError, match=repr(mode)), write_atomically(tmp_path / "a", mode):
        pytest.fail("the block must not run")


def test_random_state_is_not_advanced(tmp_path):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with write_atomically(tmp_path / "a") as file:
        file.write(b"x")
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


def test_shorten_stem_cuts_bytes_and_keeps_stems_different():
    assert shorten_stem("photo", 16) == "photo"
    assert shorten_stem("x" * 140, 140) == "x" * 140
    first, second = (shorten_stem("é" * 100 + end, 140) for end in "ab")
    assert first != second and first.startswith("é" * 60)
    assert all(len(os.fsencode(each)) <= 140 for each in (first, second))
    assert len(os.fsencode(shorten_stem(os.fsdecode(b"caf\xe9" * 100), 140))) <= 140


def test_clear_leftovers_keeps_files_of_live_processes(tmp_path):
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        with write_atomically(tmp_path / "model.pth") as file:
            file.write(b"half of it")
            file.flush()
            os.write(done, b"x")
            signal.pause()
        os._exit(1)
    try:
        assert os.read(ready, 1) == b"x"
        (hidden,) = names(tmp_path)
        clear_leftovers(tmp_path)
        with write_atomically(tmp_path / "other"):
            pass
        assert names(tmp_path) == [hidden, "other"]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(done)
    assert names(tmp_path) == [hidden, "other"]
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["other"]


def test_first_write_into_a_folder_clears_it(tmp_path):
    kept = [".hidden", "a.0123abcd.tmp", ".a.tmp", ".a.0123ABCD.tmp", ".a.0123abcd.tmp.gz"]
    for name in (*kept, ".a.0123abcd.tmp", ".model_final.pth.89abcdef.tmp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".folder.0123abcd.tmp").mkdir()
    (tmp_path / ".link.0123abcd.tmp").symlink_to(tmp_path / ".hidden")
    with write_atomically(tmp_path / "result"):
        pass
    others = [".folder.0123abcd.tmp", ".link.0123abcd.tmp", "result"]
    assert names(tmp_path) == sorted([*kept, *others])


def test_file_removed_before_its_lock_is_made_again(tmp_path, monkeypatch):
    flock, calls = files.fcntl.flock, []

    def late(file, operation):
        if not calls:
            calls.append(file.name)
            os.unlink(file.name)
        flock(file, operation)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with write_atomically(tmp_path / "a") as file:
        file.write(b"x")
    assert calls and names(tmp_path) == ["a"]


def test_write_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".a.0123abcd.tmp").write_bytes(b"")
    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with write_atomically(tmp_path / "a") as file:
        file.write(b"x")
    assert names(tmp_path) == [".a.0123abcd.tmp", "a"]


def test_check_output_dir_makes_the_folder(tmp_path):
    check_output_dir(tmp_path / "new" / "folder")
    assert names(tmp_path / "new" / "folder") == []


def test_expand_user_keeps_unknown_users_and_refuses_zero_bytes(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_user("~/masks") == tmp_path / "masks"
    assert expand_user("~no-such-user-here/masks") == Path("~no-such-user-here/masks")
    with pytest.raises(ValueError, match=r"'~a\\x00b' is no name of a file: it holds a zero byte"):
        expand_user("~a\0b")
