"""The console in brief, the file in full."""

import logging
import sys

from ovseg_d2.engine.logs import BriefFormatter, set_up_logs


def text_of(message: str, **limits: int) -> str:
    record = logging.LogRecord("x", logging.INFO, "", 0, message, None, None)
    return BriefFormatter(logging.Formatter("[%(levelname)s] %(message)s"), **limits).format(record)


def test_short_messages_stay():
    assert text_of("one\ntwo") == "[INFO] one\ntwo"
    assert text_of("a\nb\nc", max_lines=3) == "[INFO] a\nb\nc"


def test_long_messages_show_their_beginning():
    assert text_of("a\nb\nc", max_lines=2) == "[INFO] a (3 lines, see log.txt)"
    assert text_of("0123456789\nok", max_chars=10) == (
        "[INFO] 012 ... (17 characters, see log.txt)\nok"
    )


def test_console_is_brief_and_file_is_whole(tmp_path, capsys):
    set_up_logs(str(tmp_path))
    set_up_logs(str(tmp_path))  # as a caller may, without doubling any line
    logger = logging.getLogger("ovseg_d2.somewhere")
    logger.info("head\n%s", "\n".join("abcdefghijklmnop"))
    logger.debug("a detail")
    logging.getLogger("detectron2.somewhere").info("of detectron2")
    for handler in logging.getLogger("ovseg_d2").handlers:
        handler.flush()
    shown = capsys.readouterr().out
    assert shown.count("head (17 lines, see log.txt)") == 1
    assert "a detail" not in shown
    assert shown.count("of detectron2") == 1
    kept = (tmp_path / "log.txt").read_text()
    assert "head\na\nb\n" in kept and "a detail" in kept and "of detectron2" in kept


def test_a_traceback_is_shown_by_its_first_line():
    record = logging.LogRecord("x", logging.ERROR, "", 0, "stopped", None, None)
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    lines = len(logging.Formatter().format(record).splitlines())
    assert BriefFormatter(logging.Formatter()).format(record) == (
        f"stopped ({lines} lines, see log.txt)"
    )


def test_each_run_of_a_process_has_its_own_log(tmp_path, capsys):
    mine = logging.NullHandler()
    logging.getLogger("ovseg_d2").addHandler(mine)
    logger = logging.getLogger("ovseg_d2.somewhere")
    folders = [tmp_path / name for name in "abcba"]
    for number, folder in enumerate(folders):
        set_up_logs(str(folder))
        logger.info("line %d", number)
    shown = capsys.readouterr().out
    assert [shown.count(f"line {number}") for number in range(5)] == [1] * 5
    for name, numbers in {"a": (0, 4), "b": (1, 3), "c": (2,)}.items():
        kept = (tmp_path / name / "log.txt").read_text()
        assert [word for word in kept.split() if word.isdigit()] == [str(n) for n in numbers]
    assert mine in logging.getLogger("ovseg_d2").handlers
