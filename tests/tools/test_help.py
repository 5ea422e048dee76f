"""The help of every tool: quick, whole, and true."""

import ast
import json
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from claims import CLAIMS

from ovseg_d2.mining import TAGGERS
from ovseg_d2.prepare.pair_miner import NOUNS, TRUTH
from ovseg_d2.prepare.proposal_masks import ALL_MASK_SOURCES

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted((ROOT / "tools").glob("*.py"))

# Shows the help of every tool in one process, and what that has imported.
SHOW = """
import contextlib, io, json, runpy, sys
shown = {}
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = end.code
    heavy = [name for name in ("torch", "ovseg_d2", "numpy") if name in sys.modules]
    shown[path] = [code, heavy, text.getvalue()]
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def shown():
    command = [sys.executable, "-c", SHOW, *map(str, TOOLS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_help_imports_nothing_slow(shown, tool):
    code, heavy, text = shown[str(tool)]
    assert (code, heavy) == (0, [])
    assert text.startswith("usage: ")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_help_shows_the_docstring(shown, tool):
    """Examples that go on behind a backslash can be copied."""
    source = tool.read_text(encoding="utf-8")
    _, start, rest = source.partition('"""')
    text = rest.partition('"""')[0]
    assert start and text.strip() in shown[str(tool)][2]


def constants(name: str) -> dict:
    return runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name=name)


def test_choices_equal_the_tables():
    masks = constants("generate_masks")["SOURCES"]
    assert sorted(masks) == sorted(set(ALL_MASK_SOURCES) - {"stored"})
    mining = constants("mine_pairs")
    assert sorted(mining["MASKS"]) == sorted({TRUTH, *ALL_MASK_SOURCES})
    assert mining["NOUNS"] == NOUNS
    assert mining["TAGGERS"] == tuple(TAGGERS)
    assert list(constants("benchmark")["METHODS"]) == sorted(CLAIMS)


def test_defaults_of_the_training_tool():
    args = vars(constants("train_net")["build_parser"]().parse_args([]))
    host, port = args.pop("dist_url").rsplit(":", 1)
    assert host == "tcp://127.0.0.1"
    assert 49152 <= int(port) < 65536
    assert args == {
        "config_file": "",
        "resume": False,
        "eval_only": False,
        "num_gpus": 1,
        "num_machines": 1,
        "machine_rank": 0,
        "modules": [],
        "opts": [],
    }


def test_options_of_the_training_tool():
    args = constants("train_net")["build_parser"]().parse_args(
        "--config-file a.yaml --resume --eval-only --num-gpus 2 --num-machines 3 --machine-rank 1 "
        "--dist-url auto SOLVER.BASE_LR 0.5 --not-an-option".split()
    )
    assert args == Namespace(
        config_file="a.yaml",
        resume=True,
        eval_only=True,
        num_gpus=2,
        num_machines=3,
        machine_rank=1,
        modules=[],
        dist_url="auto",
        opts=["SOLVER.BASE_LR", "0.5", "--not-an-option"],
    )


def test_default_port_is_fixed():
    urls = {constants("train_net")["build_parser"]().parse_args([]).dist_url for _ in range(2)}
    assert len(urls) == 1


def test_training_takes_detectron2s_options():
    default_argument_parser = pytest.importorskip("detectron2.engine").default_argument_parser
    ours, theirs = constants("train_net")["build_parser"](), default_argument_parser()
    kept = [
        {(a.dest, tuple(a.option_strings), repr(a.default), a.nargs, a.type) for a in each._actions}
        for each in (ours, theirs)
    ]
    # detectron2 has no option for modules that register datasets.
    assert {each for each in kept[0] if each[0] != "modules"} == kept[1]


def test_tools_import_the_package_late():
    for tool in TOOLS:
        tree = ast.parse(tool.read_text(encoding="utf-8"))
        names = [
            alias.name if isinstance(node, ast.Import) else node.module
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, tool.name
