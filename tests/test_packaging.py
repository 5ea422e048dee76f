"""What a wheel holds, what it asks for, and what the Makefile promises."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from distutils.core import run_setup
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ovseg_d2"


@pytest.fixture(scope="module")
def distribution():
    before = os.getcwd()
    os.chdir(ROOT)
    try:
        return run_setup("setup.py", stop_after="init")
    finally:
        os.chdir(before)


def test_metadata(distribution):
    import ovseg_d2

    assert distribution.get_name() == "ovseg_d2"
    assert distribution.get_version() == ovseg_d2.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", ovseg_d2.__version__)
    assert distribution.get_license() == "Apache-2.0"
    assert str(distribution.python_requires) == ">=3.10"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_requirements_have_lower_bounds_and_are_met(distribution):
    for text in distribution.install_requires:
        requirement = Requirement(text)
        assert [part.operator for part in requirement.specifier] == [">="], text
        installed = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(installed, prereleases=True), (text, installed)


def test_detectron2_is_never_required(distribution):
    texts = list(distribution.install_requires)
    for extra in distribution.extras_require.values():
        texts += extra
    assert texts
    assert "detectron2" not in {Requirement(text).name.lower() for text in texts}


# Extras that code imports where it can do without them.
OPTIONAL = ("nltk", "wn")
# Names of modules that are not those of their projects.
PROJECT_OF = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "open_clip": "open_clip_torch",
    "segment_anything": "segment-anything",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}


# The package, its optional framework, and the folders of `tools/`.
OWN = {"ovseg_d2", "detectron2", "claims", "paper"}


def test_outside_imports_are_required(distribution):
    texts = list(distribution.install_requires)
    texts += [text for name in OPTIONAL for text in distribution.extras_require[name]]
    required = {Requirement(text).name for text in texts}
    missing = set()
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            else:
                continue
            for name in {name.split(".")[0] for name in names}:
                outside = name not in sys.stdlib_module_names | OWN
                if outside and PROJECT_OF.get(name, name) not in required:
                    missing.add((path.name, name))
    assert missing == set()


def is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


def test_build_has_exactly_the_files_of_the_package(tmp_path):
    """Word lists, weights and configs beside the modules are the ones that get forgotten."""
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    built = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    expected = {path.relative_to(ROOT) for path in PACKAGE.rglob("*") if is_source(path)}
    assert built == expected


# Files of the official repositories, which are cited as sources.
CITED = {
    *(f"configs/maskclip{plus}/README.md" for plus in ("", "_plus")),
    "configs/ovseg_swinB_vitL_bs32_120k.yaml",
    *(f"configs/pixelclip_{tower}_base.yaml" for tower in ("convnext", "vit")),
    *(
        f"datasets/register_{name}.py"
        for name in ("ade20k_full", "coco_stuff", "pascal_context", "voc_seg")
    ),
    *(f"tools/maskclip_utils/{name}.py" for name in ("convert_clip_weights", "prompt_engineering")),
}


def test_texts_name_existing_files():
    """A message or a page that sends the reader to a missing script or config is a dead end."""
    name = re.compile(
        r"\b(?:datasets|tools|configs|tests|docs|ovseg_d2)/[\w/]+\.(?:py|yaml|md|txt|png|tsv)\b"
        r"|\bprepare_\w+\.py\b"
    )
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *PACKAGE.rglob("*.md")]
    pages += [ROOT / "datasets/README.md", ROOT / "results/README.md"]
    texts = [*pages, *PACKAGE.rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    texts += (ROOT / "configs").rglob("*.yaml")
    missing = {
        (text.name, found)
        for text in texts
        for found in name.findall(text.read_text(encoding="utf-8"))
        if found not in CITED and not (ROOT / found).is_file()
    }
    assert missing == set()


# A python that only writes down what it is asked to do.
FAKE_PYTHON = """#!/bin/sh
{ for argument in "$@"; do printf '%s|' "$argument"; done
  printf 'PYTHONPATH=%s\\n' "$PYTHONPATH"; } >> "$FAKE_LOG"
case "$*" in
    --version) echo "Python 3.8.1" ;;
    -c*) exit "${FAKE_OLD:-0}" ;;
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip --version" | "-m ensurepip") exit "${FAKE_NO_PIP:-0}" ;;
    "-m pip install"*) exit "${FAKE_PIP:-0}" ;;
    tools/check_setup.py) exit "${FAKE_PAIR:-0}" ;;
    "-m mypy"*) exit "${FAKE_MYPY:-0}" ;;
    "-m pytest"*) exit "${FAKE_PYTEST:-0}" ;;
esac
"""


class Clone:
    """A fresh clone, in a folder whose name is awkward, with a Python that notes its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "setup.py", "pyproject.toml", "tools/check_setup.py", ".ci/run"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        self.python = folder / "fake python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.log = folder.parent / "log"

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command there; `calls` are then the ones of this run."""
        self.log.write_text("")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        # What this very suite was started with is not meant for the runs in it.
        for name in ("PYTHONPATH", "D2", "ARGS"):
            clean.pop(name, None)
        clean |= {"PYTHON": str(self.python), "FAKE_LOG": str(self.log), "CI": "true"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()

    def called(self, words: str) -> list[str]:
        return [call for call in self.calls if words in call]


@pytest.fixture
def clone(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not here")
    folder = tmp_path / "it's a (new), clone"
    folder.mkdir()
    return Clone(folder)


INSTALL = "-m|pip|install|"


def test_make_installs_once_and_after_changes(clone):
    """An editable install points to its folder, so a moved clone is installed again."""
    assert clone.run("make", "test").returncode == 0
    steps = (INSTALL, "check_setup", "pytest")
    order = [clone.calls.index(clone.called(words)[0]) for words in steps]
    assert order == sorted(order)
    assert clone.called(INSTALL)[0].split("|")[-3:-1] == ["-e", ".[dev]"]
    for target in ("test", "demo"):
        assert clone.run("make", target).returncode == 0
        assert clone.called(INSTALL) == clone.called("venv") == []
    assert len(clone.called("tools/demo.py")) == 1
    for name in ("setup.py", "pyproject.toml"):
        later = (clone.folder / ".venv/.ovseg_d2-installed").stat().st_mtime + 10
        os.utime(clone.folder / name, (later, later))
        clone.run("make", "test")
        assert len(clone.called(INSTALL)) == 1 and clone.called("venv") == []
        os.utime(clone.folder / name, (1, 1))
    moved = clone.folder.rename(clone.folder.with_name("moved"))
    clone.folder, clone.python = moved, moved / "fake python"
    assert clone.run("make", "test").returncode == 0
    assert len(clone.called(INSTALL)) == 1
    clone.run("make", "test")
    assert clone.called(INSTALL) == []


@pytest.mark.parametrize("failure", ["FAKE_PIP", "FAKE_PAIR"])
def test_make_repeats_an_interrupted_install(clone, failure):
    assert clone.run("make", "test", **{failure: "1"}).returncode != 0
    assert clone.called("pytest") == []
    assert clone.run("make", "test").returncode == 0
    assert len(clone.called(INSTALL)) == 1
    assert len(clone.called("pytest")) == 1


def test_make_keeps_an_environment_unless_it_is_broken(clone):
    python = clone.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    shutil.copy2(clone.python, python)
    mine = clone.folder / ".venv/mine"
    mine.touch()
    assert clone.run("make", "test").returncode == 0
    assert clone.called("venv") == []
    assert mine.exists()
    python.unlink()
    python.symlink_to("/nowhere/python")
    (clone.folder / ".venv/.ovseg_d2-installed").unlink()
    clone.run("make", "test")
    assert len(clone.called("-m|venv|--clear|.venv")) == 1


@pytest.mark.parametrize("target", ["setup", "demo", "test", "lint"])
def test_make_refuses_a_linked_environment(clone, target):
    """Installing through the link would point the first checkout's environment to the second."""
    clone.run("make", "setup")
    stamp = clone.folder / ".venv/.ovseg_d2-installed"
    second = Clone(clone.folder.parent / "second")
    (second.folder / ".venv").symlink_to(clone.folder / ".venv")
    result = second.run("make", target)
    assert result.returncode != 0
    told = result.stderr.splitlines()
    assert told[0].startswith(f".venv is a link to {clone.folder / '.venv'}, and installing there")
    assert len([line for line in told if "make: ***" not in line]) == 1
    assert second.calls == []
    assert stamp.read_text().strip() == str(clone.folder)
    # The first checkout goes on working with it, without a new install.
    assert clone.run("make", "test").returncode == 0
    assert clone.called(INSTALL) == []


def test_make_test_takes_a_d2_path_with_spaces(clone):
    checkout = clone.folder.parent / "my d2"
    (checkout / "detectron2").mkdir(parents=True)
    (checkout / "detectron2/__init__.py").touch()
    assert clone.run("make", "test", f"D2={checkout}").returncode == 0
    assert clone.called("pytest")[0].endswith(f"PYTHONPATH={checkout}")
    assert clone.called(INSTALL)[-1].split("|")[-3:-1] == ["-e", ".[dev,d2]"]
    # Relative, with something on the path already, and without installing once more.
    assert clone.run("make", "test", "D2=../my d2", PYTHONPATH="/before").returncode == 0
    assert clone.called("pytest")[0].endswith(f"PYTHONPATH={checkout}:/before")
    assert clone.called(INSTALL) == []
    clone.run("make", "test")
    assert clone.called("pytest")[0].endswith("PYTHONPATH=")
    result = clone.run("make", "test", "D2=/a b/c")
    assert result.returncode != 0 and clone.calls == []
    assert "D2=/a b/c is no checkout of detectron2" in result.stderr
    result = clone.run("make", "-n", "test", "D2=/a b/c")
    assert '$(cd -- "$D2" && pwd)' in result.stdout and "/a b/c" not in result.stdout


def test_make_hands_words_image_and_arguments_on_unchanged(clone):
    words, image = 'bob\'s "red" star, grün, $HOME & co', "my images/a b.png"
    # make reads a lone dollar as the start of a variable; two stand for one.
    result = clone.run(
        "make", "demo", f"PICTURE={image}", "WORDS=" + words.replace("$", "$$"), WORDS="other"
    )
    assert result.returncode == 0
    assert clone.called("tools/demo.py")[0].split("|")[:-1] == [
        *("tools/demo.py", "--config-file", "configs/maskclip_shifted.yaml", "--input", image),
        *("--classes", words, "--output", "output/demo"),
    ]
    clone.run("make", "test", "ARGS=-k 'a or b' -x")
    assert clone.called("-m|pytest|-k|a or b|-x|")


def test_make_refuses_an_old_or_missing_python(clone):
    result = clone.run("make", "test", FAKE_OLD="1")
    assert result.returncode != 0
    for words in ("Python 3.10 or later is needed", "Python 3.8.1", "make PYTHON="):
        assert words in result.stderr
    assert not (clone.folder / ".venv").exists()
    result = clone.run("make", "test", PYTHON="no-such-python")
    assert result.returncode != 0
    assert "PYTHON=no-such-python is missing" in result.stderr


def test_ci_checks_then_tests_from_any_folder(clone):
    script = str(clone.folder / ".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert clone.run(script).returncode == 0
    checks = [clone.called(words)[0] for words in ("-m|ruff|check|", "-m|ruff|format|", "-m|mypy|")]
    assert [*checks, *clone.called("pytest")] == clone.calls[-4:]
    result = clone.run("sh", "-c", 'cd / && "$1"', "sh", script, FAKE_PYTEST="1")
    assert result.returncode != 0
    assert len(clone.called("pytest")) == 1
    assert clone.run(script, FAKE_MYPY="1").returncode != 0
    assert clone.called("pytest") == []


def test_pre_commit_runs_the_tools_of_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    tools = {hook["entry"].split()[2] for hook in config["repos"][0]["hooks"]}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    assert tools == set(re.findall(r"-m (\w+)", lint)) == {"ruff", "mypy"}


def test_citation_has_the_version_of_the_package(distribution):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == distribution.get_version()
    assert citation["license"] == distribution.get_license()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{distribution.get_version()}]" in changes


def check_setup(path: Path | None = None) -> subprocess.CompletedProcess:
    """Run the check, with the modules in `path` before those that are installed."""
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, str(ROOT / "tools/check_setup.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_check_setup_accepts_this_environment():
    result = check_setup()
    assert result.returncode == 0, result.stderr
    assert "work together" in result.stdout


@pytest.mark.parametrize(
    ("torchvision", "words"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "nms does not exist"),
        ("raise ImportError('undefined symbol: _ZN3c10')", "undefined symbol"),
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart"),
        ("nms = lambda *args: __import__('torch').tensor([0])", "kept the boxes [0]"),
    ],
)
def test_check_setup_refuses_mismatched_torchvision(tmp_path, torchvision, words):
    (tmp_path / "torch.py").write_text(
        "float32 = 0\nclass tensor:\n"
        "    def __init__(self, values, dtype=None): self.values = values\n"
        "    def tolist(self): return self.values\n"
    )
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").touch()
    (tmp_path / "torchvision/ops.py").write_text(torchvision)
    result = check_setup(tmp_path)
    assert result.returncode == 1
    assert words in result.stderr
    assert f"torch {importlib.metadata.version('torch')}" in result.stderr
    assert "-m pip install --force-reinstall torch torchvision" in result.stderr
    assert "Traceback" not in result.stderr
