"""Messages reach the screen and the file once, whichever provider sets the logger up."""

import logging
import sys
import time
from collections.abc import Iterator

import pytest

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.utils.logger import setup_logger

NAME = "ovseg_test"


@pytest.fixture(autouse=True)
def _fresh_logger() -> Iterator[None]:
    yield
    setup_logger.cache_clear()
    logger = logging.getLogger(NAME)
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


def test_messages_reach_screen_and_file(tmp_path, capsys):
    logger = setup_logger(str(tmp_path / "new"), name=NAME, abbrev_name="t", color=True)
    assert logger is logging.getLogger(NAME)
    logging.getLogger(NAME + ".part").info("hello")
    logging.getLogger(NAME + ".part").debug("detail")
    screen = capsys.readouterr().out
    assert "t.part]: " in screen and "hello" in screen and "detail" in screen
    lines = (tmp_path / "new" / "log.txt").read_text().splitlines()
    assert [line.split(".part ")[1] for line in lines] == ["INFO: hello", "DEBUG: detail"]


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 shortens names in the file too")
def test_standins_file_keeps_full_names(tmp_path):
    setup_logger(str(tmp_path), name=NAME, abbrev_name="t")
    logging.getLogger(NAME + ".part").info("hello")
    assert f"] {NAME}.part INFO: hello" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_warnings_and_errors_are_named_on_the_screen(capsys, level):
    setup_logger(name=NAME).log(level, "careful")
    screen = capsys.readouterr().out
    assert logging.getLevelName(level) in screen
    assert "careful" in screen


def test_plain_screen(capsys):
    setup_logger(name=NAME, color=False).info("hello")
    assert capsys.readouterr().out.endswith(f"] {NAME} INFO: hello\n")


def test_abbreviation_may_be_empty(capsys):
    setup_logger(name=NAME, abbrev_name="")
    logging.getLogger(NAME + ".part").info("hello")
    screen = capsys.readouterr().out
    assert " part]: " in screen and NAME not in screen


def test_second_call_does_not_double_the_lines(tmp_path, capsys):
    for _ in range(2):
        setup_logger(str(tmp_path), name=NAME)
    logging.getLogger(NAME).info("once")
    assert capsys.readouterr().out.count("once") == 1
    assert (tmp_path / "log.txt").read_text().count("once") == 1


def test_loggers_share_a_file(tmp_path):
    setup_logger(str(tmp_path), name=NAME, configure_stdout=False).info("first")
    other = setup_logger(str(tmp_path), name=NAME + ".other", configure_stdout=False)
    other.info("second")
    other.handlers = []
    text = (tmp_path / "log.txt").read_text()
    assert text.index("first") < text.index("second")


def test_other_ranks_write_to_their_own_files_only(tmp_path, capsys):
    setup_logger(str(tmp_path / "my.log"), distributed_rank=2, name=NAME).info("hello")
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["my.log.rank2"]
    assert "hello" in (tmp_path / "my.log.rank2").read_text()


@pytest.mark.parametrize("propagate", [False, True])
def test_propagation_is_off_unless_asked_for(caplog, propagate):
    setup_logger(name=NAME, enable_propagation=propagate).info("hello")
    assert ("hello" in caplog.text) is propagate


def test_screen_can_be_left_out(capsys):
    setup_logger(name=NAME, configure_stdout=False).info("hello")
    assert capsys.readouterr().out == ""


def test_one_in_n_seconds(caplog, monkeypatch):
    log = sys.modules[setup_logger.__module__].log_every_n_seconds
    caplog.set_level(logging.INFO)
    clock = [100.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(5):
        log(logging.INFO, f"at {clock[0]:.0f}", n=2)
        clock[0] += 1.0
    assert caplog.messages == ["at 100", "at 102", "at 104"]
