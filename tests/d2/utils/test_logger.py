"""Contract of setup_logger: messages reach the screen and the file once."""

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


def test_setup_logger_writes_to_screen_and_file(tmp_path, capsys):
    logger = setup_logger(str(tmp_path / "new"), name=NAME)
    assert logger is logging.getLogger(NAME) and not logger.propagate
    logging.getLogger(NAME + ".part").info("hello")
    logging.getLogger(NAME + ".part").debug("detail")
    screen = capsys.readouterr().out
    assert f"{NAME}.part]: " in screen and "hello" in screen and "detail" in screen
    lines = (tmp_path / "new" / "log.txt").read_text().splitlines()
    assert [line.split(".part ")[1] for line in lines] == ["INFO: hello", "DEBUG: detail"]


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 shortens names in the file too")
def test_setup_logger_shortens_detectron2_on_the_screen_only(tmp_path, capsys):
    setup_logger(str(tmp_path))
    logging.getLogger("detectron2.part").info("hello")
    assert " d2.part]: " in capsys.readouterr().out
    assert "] detectron2.part INFO: hello" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_setup_logger_marks_warnings_and_errors(capsys, level):
    setup_logger(name=NAME).log(level, "careful")
    screen = capsys.readouterr().out
    assert logging.getLevelName(level) in screen
    assert "careful" in screen


def test_setup_logger_twice_writes_each_line_once(tmp_path, capsys):
    for _ in range(2):
        setup_logger(str(tmp_path), name=NAME)
    logging.getLogger(NAME).info("once")
    assert capsys.readouterr().out.count("once") == 1
    assert (tmp_path / "log.txt").read_text().count("once") == 1


def test_setup_logger_shares_a_file_of_two_loggers(tmp_path):
    setup_logger(str(tmp_path), name=NAME).info("first")
    other = setup_logger(str(tmp_path), name=NAME + ".other")
    other.info("second")
    other.handlers = []
    text = (tmp_path / "log.txt").read_text()
    assert text.index("first") < text.index("second")


def test_setup_logger_of_another_rank_writes_its_own_file(tmp_path, capsys):
    setup_logger(str(tmp_path / "my.log"), distributed_rank=2, name=NAME).info("hello")
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["my.log.rank2"]
    assert "hello" in (tmp_path / "my.log.rank2").read_text()


def test_log_every_n_seconds(caplog, monkeypatch):
    log = sys.modules[setup_logger.__module__].log_every_n_seconds
    caplog.set_level(logging.INFO)
    clock = [100.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(5):
        log(logging.INFO, f"at {clock[0]:.0f}", n=2, name=NAME)
        clock[0] += 1.0
    assert caplog.messages == ["at 100", "at 102", "at 104"]
