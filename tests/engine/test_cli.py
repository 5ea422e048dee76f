"""How tools end: with a sentence for bad input, with a traceback for bugs."""

import argparse
import errno
import os

import pytest
from torch.multiprocessing import ProcessExitedException
from torch.utils.data import DataLoader, Dataset

from ovseg_d2.engine.cli import refuse_misplaced_options, sentence_for_bad_input
from ovseg_d2.files import WriteError, write_atomically
from ovseg_d2.vocab import Vocabulary


def test_sentence_for_bad_input_lets_good_input_pass():
    with sentence_for_bad_input():
        pass


def test_package_errors_become_a_sentence():
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        Vocabulary.parse("")
    assert end.value.code == "error: classes '' name nothing; give words such as 'sky, grass'"


def test_file_error_keeps_its_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        with write_atomically(tmp_path / "file" / "below"):
            pass
    assert end.value.code.startswith(f"error: cannot write {tmp_path}/file/below: a part of")


def test_bugs_keep_their_traceback():
    for bug in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "a bug", "file")):
        with pytest.raises(type(bug), match="a bug"), sentence_for_bad_input():
            raise bug  # from here, that is from outside the package
    with pytest.raises(KeyError), sentence_for_bad_input():
        Vocabulary.from_names(["a"]).class_sets["none"]


def test_errors_beside_the_package_are_bugs(tmp_path):
    import ovseg_d2

    beside = os.path.dirname(ovseg_d2.__file__) + "_other/module.py"
    code = compile("raise ValueError('elsewhere')", beside, "exec")
    with pytest.raises(ValueError, match="elsewhere"), sentence_for_bad_input():
        exec(code)


def test_full_disk_is_a_sentence():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.json")
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        raise full
    assert "the disk is full while writing metrics.json" in end.value.code
    assert "--resume" in end.value.code
    # The file's own sentence, where there is one, is better.
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        with write_atomically(os.devnull + "/never") as _:
            pass
    assert "cannot write" in end.value.code
    assert issubclass(WriteError, OSError)


def test_ended_process_adds_no_second_sentence():
    quiet = ProcessExitedException("ended", error_index=1, error_pid=2, exit_code=1)
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        raise quiet
    assert end.value.code == 1
    killed = ProcessExitedException(
        "killed", error_index=1, error_pid=2, exit_code=-9, signal_name="SIGKILL"
    )
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        raise killed
    assert end.value.code.startswith("error: process 1 of the job was ended by SIGKILL")


class Broken(Dataset):
    """Raises an error of this package, or one of its own."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        if self.ours:
            Vocabulary.parse("")
        raise ValueError("a bug")


def test_loader_worker_error_becomes_the_same_sentence():
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        next(iter(DataLoader(Broken(True), num_workers=1)))
    assert end.value.code == "error: classes '' name nothing; give words such as 'sky, grass'"
    with pytest.raises(ValueError, match="a bug"), sentence_for_bad_input():
        next(iter(DataLoader(Broken(False), num_workers=1)))


def test_interrupt_is_one_line_and_exit_code_130(capsys):
    with pytest.raises(SystemExit) as end, sentence_for_bad_input("add --resume"):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted; to go on, add --resume\n"


def test_refuse_misplaced_options(capsys):
    parser = argparse.ArgumentParser()
    refuse_misplaced_options(parser, ["MODEL.DEVICE", "cpu", "SOLVER.BASE_LR", "-1.0"])
    with pytest.raises(SystemExit) as end:
        refuse_misplaced_options(parser, ["MODEL.DEVICE", "cpu", "--resume"])
    assert end.value.code == 2
    assert "--resume follows a config key" in capsys.readouterr().err
