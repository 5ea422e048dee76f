"""The pages of the repository: their commands, links, tables and paper keys."""

import ast
import re
import runpy
import shlex
from pathlib import Path

import pytest

from ovseg_d2.config import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    "datasets/README.md",
    "results/README.md",
    "ovseg_d2/assets/README.md",
    "tests/data/parity/README.md",
)
TOOLS = tuple(sorted(f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py")))


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def commands_of(page: str) -> list[list[str]]:
    """The words of each ``python tools/...`` command in code blocks, text and examples of help."""
    text = read(page).replace("\\\n", " ")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(python tools/[^`]+)`", text)
    lines += re.findall(r"^    (python tools/.+)", text, re.MULTILINE) if page in TOOLS else []
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if len(line) > 1 and line[1].startswith("tools/")]


COMMANDS = [(page, words) for page in (*PAGES, *TOOLS) for words in commands_of(page)]


def test_commands_are_found():
    assert len(COMMANDS) > 70
    assert {page for page, _ in COMMANDS} >= {"README.md", "docs/commands.md", "docs/results.md"}


@pytest.mark.parametrize(
    ("page", "words"),
    COMMANDS,
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[6:60],
)
def test_command_is_accepted_by_its_tool(page, words):
    tool = runpy.run_path(str(ROOT / words[0]), run_name="tool")
    if "parse_args" in tool:
        args = tool["parse_args"](words[1:])
    elif "build_parser" in tool:
        args = tool["build_parser"]().parse_args(words[1:])
    else:
        pytest.skip("the tool takes no options")
    config = getattr(args, "config_file", None)
    if config:
        load_config(ROOT / config, args.opts)  # refuses unknown keys and wrong values


def test_make_targets_exist():
    targets = re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE)
    blocks = "".join(re.findall(r"```bash\n(.*?)```", "".join(map(read, PAGES)), re.DOTALL))
    named = re.findall(r"^make (\w+)", blocks, re.MULTILINE)
    assert len(named) > 5
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES)
def test_no_two_mask_sources_share_a_folder(page):
    made: dict[str, list[str]] = {}
    for words in commands_of(page):
        if words[0].endswith("generate_masks.py"):
            options = words[words.index("--source") :]
            made.setdefault(words[words.index("--output") + 1], []).append(options[1])
    assert all(len(set(sources)) == 1 for sources in made.values()), made


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        name, _, anchor = link.partition("#")
        if name.startswith(("http://", "https://")):
            continue
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", *(p for p in PAGES if p.startswith("docs/"))])
def test_named_modules_are_there(page):
    names = re.findall(r"`([\w./]+(?:/[\w.]+\.(?:py|yaml|md|tsv)|\w/))`", read(page))
    folders = (ROOT, ROOT / "ovseg_d2")
    missing = [name for name in names if not any((folder / name).exists() for folder in folders)]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/style.md"])
def test_pages_are_in_plain_english(page):
    text = re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL))
    assert (
        re.findall(r"pictures?|likewise|whoever|whatever|(?:every|no|some)body\b", text, re.I) == []
    )


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 160


def test_readme_and_results_have_the_same_numbers():
    spreads = re.findall(r"\d+\.\d ± \d+\.\d", read("README.md"))
    assert len(spreads) > 5
    assert [spread for spread in spreads if spread not in read("docs/results.md")] == []


def paper_keys(source: str) -> set[str]:
    """The paper keys in the docstrings of a module, such as ``[maskclip] section 3``."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    text = "\n".join(re.sub(r"`[^`]*`", "", ast.get_docstring(node) or "") for node in nodes)
    return set(re.findall(r"(?<![\w\]).])\[([a-z][a-z0-9_]+)\]", text))


def test_papers_list_every_key_in_use():
    listed = set(re.findall(r"^\| \[(\w+)\] \|", read("docs/papers.md"), re.MULTILINE))
    folders = (ROOT / "ovseg_d2", ROOT / "tools")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    used = set().union(*(paper_keys(path.read_text(encoding="utf-8")) for path in paths))
    # In the help of class sets, [base] heads a section of a word list.
    assert used - {"base"} <= listed
    assert len(used) > 15
    systems = set(re.findall(r"`\w+` \[(\w+)\]", read("README.md")))
    assert systems
    assert systems <= listed
