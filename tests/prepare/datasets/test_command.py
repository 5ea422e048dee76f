"""The command line of the preparations."""

import runpy
from pathlib import Path

import pytest

from ovseg_d2.prepare.datasets import PreparationReport
from ovseg_d2.prepare.datasets.command import run_preparation

SCRIPTS = sorted((Path(__file__).resolve().parents[3] / "datasets").glob("prepare_*.py"))


def test_run_preparation_prints_problems_and_ends_with_1(capsys) -> None:
    calls = []

    def prepare(*args, **options):
        calls.append((args, options))
        return PreparationReport(3, 4, ("a.png is broken; unpack it again",))

    assert run_preparation(prepare, "", ["--archives", "b", "--workers", "2"]) == 1
    assert calls == [((None, "b"), {"workers": 2, "overwrite": False})]
    output = capsys.readouterr()
    assert output.out == "3 files made, 4 were there\n"
    assert "a.png is broken" in output.err


def test_readme_lists_every_command() -> None:
    text = (SCRIPTS[0].parent / "README.md").read_text(encoding="utf-8")
    assert len(SCRIPTS) >= 7
    assert [script.name for script in SCRIPTS if f"datasets/{script.name}" not in text] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_prepare_commands_name_what_to_download(script: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(SystemExit, match=r"error: .*; download .*--archives"):
        runpy.run_path(str(script))["main"]([])
    assert not list(tmp_path.iterdir())
