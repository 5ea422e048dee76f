"""The commands of the README and of the pages beside it, in their order."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "datasets/README.md", "results/README.md", "ovseg_d2/assets/README.md")


def commands_of(page: str) -> list[list[str]]:
    """The words of each ``python tools/...`` command, in code blocks and in the text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(python tools/[^`]+)`", text)
    words = [shlex.split(line, comments=True) for line in lines]
    return [each[1:] for each in words if len(each) > 1 and each[1].startswith("tools/")]


COMMANDS = [(page, words) for page in PAGES for words in commands_of(page)]


def test_commands_are_found():
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda each: " ".join(each)[:60])
def test_a_command_is_one_that_its_tool_takes(page, words):
    tool = runpy.run_path(str(ROOT / words[0]), run_name="tool")
    if "parse_args" in tool:
        args = tool["parse_args"](words[1:])
    elif "build_parser" in tool:
        args = tool["build_parser"]().parse_args(words[1:])
    else:
        pytest.skip("the tool takes no options")
    config = getattr(args, "config_file", None)
    assert not config or (ROOT / config).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_no_two_mask_sources_share_a_folder(page):
    made: dict[str, list[str]] = {}
    for words in commands_of(page):
        if words[0].endswith("generate_masks.py"):
            options = words[words.index("--source") :]
            made.setdefault(words[words.index("--output") + 1], []).append(options[1])
    assert all(len(set(sources)) == 1 for sources in made.values()), made
