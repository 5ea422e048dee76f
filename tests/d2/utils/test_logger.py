"""Messages reach the screen and the file once, whichever provider sets the logger up."""

import logging
import time
from collections.abc import Iterator

import pytest

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.utils.logger import (
    create_small_table,
    log_every_n,
    log_every_n_seconds,
    log_first_n,
    setup_logger,
)

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


def test_first_n_of_a_line(caplog):
    caplog.set_level(logging.INFO)
    for index in range(5):
        log_first_n(logging.INFO, f"line {index}", n=2)
    assert caplog.messages == ["line 0", "line 1"]
    assert {record.name for record in caplog.records} == {__name__}


def test_first_n_of_a_message(caplog):
    caplog.set_level(logging.INFO)
    for text in ["a", "b", "a"]:
        log_first_n(logging.INFO, f"message {text}", key="message")
    log_first_n(logging.INFO, "message b", key="message")
    assert caplog.messages == ["message a", "message b"]


def test_first_n_of_a_message_on_a_line(caplog):
    caplog.set_level(logging.INFO)
    for text in ["a", "b", "a"]:
        log_first_n(logging.INFO, f"both {text}", key=("caller", "message"))
    log_first_n(logging.INFO, "both b", key=("caller", "message"), name=NAME)
    assert caplog.messages == ["both a", "both b", "both b"]
    assert caplog.records[-1].name == NAME


def test_one_in_n(caplog):
    caplog.set_level(logging.INFO)
    for index in range(7):
        log_every_n(logging.INFO, f"n {index}", n=3)
    assert caplog.messages == ["n 0", "n 3", "n 6"]


def test_one_in_n_seconds(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    clock = [100.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(5):
        log_every_n_seconds(logging.INFO, f"at {clock[0]:.0f}", n=2)
        clock[0] += 1.0
    assert caplog.messages == ["at 100", "at 102", "at 104"]


def test_small_table():
    table = create_small_table({"mIoU": 41.25, "words": 7})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")]
    heads, rule, row = rows
    assert heads == ["mIoU", "words"]
    assert all(set(cell) <= set(":-") for cell in rule)
    assert row == ["41.250", "7"]
