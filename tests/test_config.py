"""The config: building, refusals in one sentence, and a reader for every key."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from ovseg_d2.config import (
    add_ovseg_config,
    check_device,
    find_config,
    load_config,
    resolve_device,
)
from ovseg_d2.d2.config import CfgNode, get_cfg
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.d2.projects.deeplab import add_deeplab_config

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ovseg_d2"


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def leaves(node: CfgNode, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


# --- building


def test_defaults_are_maskclip_on_shapesclip():
    cfg = load_config()
    assert cfg.MODEL.META_ARCHITECTURE == "MaskCLIP"
    assert cfg.MODEL.CLIP.NAME == "ShapesCLIP"
    assert not cfg.is_frozen()
    assert cfg.MODEL.DEVICE in ("cpu", "cuda")


def test_add_ovseg_config_changes_few_defaults():
    plain, ours = get_cfg(), get_cfg()
    add_ovseg_config(ours)
    changed = {key for key in leaves(plain) if _at(plain, key) != _at(ours, key)}
    assert changed <= {
        ("SEED",),
        ("INPUT", "FORMAT"),
        ("INPUT", "MIN_SIZE_TEST"),
        ("MODEL", "META_ARCHITECTURE"),
        ("MODEL", "DEVICE"),
        ("DATALOADER", "ASPECT_RATIO_GROUPING"),
        ("DATALOADER", "NUM_WORKERS"),
    }


def _at(node: CfgNode, key: tuple[str, ...]):
    for part in key:
        node = node[part]
    return node


def test_file_then_options(tmp_path):
    file = write(tmp_path, "a.yaml", "SOLVER:\n  MAX_ITER: 7\n  BASE_LR: 0.5\nVERSION: 2\n")
    cfg = load_config(file, ["SOLVER.MAX_ITER", "9", "MODEL.TEXT.CLASSES", "['red star', 'sand']"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (9, 0.5)
    assert cfg.MODEL.TEXT.CLASSES == ["red star", "sand"]
    assert load_config(Path(file)).SOLVER.MAX_ITER == 7


def test_base_path_is_relative_to_its_file(tmp_path):
    (tmp_path / "below").mkdir()
    write(tmp_path, "base.yaml", "SOLVER:\n  MAX_ITER: 7\n  BASE_LR: 0.5\nVERSION: 2\n")
    file = write(tmp_path / "below", "a.yaml", "_BASE_: ../base.yaml\nSOLVER:\n  MAX_ITER: 8\n")
    cfg = load_config(file)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (8, 0.5)


def test_configs_do_not_share_values():
    first = load_config()
    first.MODEL.TEXT.CLASSES.append("dog")
    first.SOLVER.BETAS[0] = 0.0
    assert load_config().MODEL.TEXT.CLASSES == []
    assert load_config().SOLVER.BETAS == [0.9, 0.98]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_configs_of_the_project_load(path):
    assert load_config(path).MODEL.META_ARCHITECTURE


# --- the device


@pytest.mark.parametrize(("available", "device"), [(True, "cuda"), (False, "cpu")])
def test_load_config_resolves_auto(monkeypatch, tmp_path, available, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_device("auto") == resolve_device("AUTO") == device
    file = write(tmp_path, "a.yaml", "MODEL:\n  DEVICE: auto\nVERSION: 2\n")
    built = [load_config(), load_config(file), load_config(None, ["MODEL.DEVICE", "auto"])]
    assert [cfg.MODEL.DEVICE for cfg in built] == [device] * 3
    plain = get_cfg()
    add_ovseg_config(plain)
    assert plain.MODEL.DEVICE == device


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_named_devices_stay(name):
    assert resolve_device(name) == name
    assert load_config(None, ["MODEL.DEVICE", name]).MODEL.DEVICE == name


@pytest.mark.parametrize("name", ["gpu", "", "None", "cuda:x"])
def test_load_config_refuses_unknown_devices(name):
    with pytest.raises(ValueError, match="is no device; write auto, cpu, cuda or cuda:N"):
        load_config(None, ["MODEL.DEVICE", name])


UNSUPPORTED = ("mps", "xpu", "hpu", "xla", "meta", "vulkan", "mtia", "privateuseone", "opencl")


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_check_device_refuses_unsupported_devices(name):
    if name in ("mps", "xpu") and getattr(torch, name).is_available():
        pytest.skip(f"{name} is here")
    with pytest.raises(ValueError, match=f"^--device '{name}' is not there: .* '{name}'; set") as e:
        check_device(name, argument="--device")
    assert "\n" not in str(e.value)


def test_check_device_counts_cuda_devices(monkeypatch):
    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda")
    check_device("cuda:1")
    with pytest.raises(ValueError, match="MODEL.DEVICE 'cuda:2' is not there: 2 CUDA devices"):
        check_device("cuda:2")


@pytest.mark.parametrize("name", ["MaskCLIP", "CLIPPretrain", "OVSeg", "PixelCLIP"])
def test_models_refuse_unsupported_devices(tiny_opts, name):
    """Predictors and scripts build models without the tools of this project."""
    opts = [*tiny_opts, "MODEL.META_ARCHITECTURE", name, "MODEL.DEVICE", "hpu"]
    with pytest.raises(ValueError, match="MODEL.DEVICE 'hpu' is not there"):
        build_model(load_config(None, opts))


# --- bad input


OPTIONS = [
    (["SOLVER.MAX_ITR", "1"], "option SOLVER.MAX_ITR 1: .*on-existent.*ovseg_d2/config lists"),
    (["NOPE", "1"], "option NOPE 1: .*on-existent"),
    (["SOLVER.MAX_ITER.X", "1"], "option SOLVER.MAX_ITER.X 1: "),
    (["SOLVER.MAX_ITER", "x"], "SOLVER.MAX_ITER is 'x', of type str; it takes a whole number"),
    (["SOLVER.BASE_LR", "1"], "SOLVER.BASE_LR is 1, of type int; it takes a number with a point"),
    (["TEST.OWN_WORDS", "yes"], "TEST.OWN_WORDS is 'yes', of type str; it takes True or False"),
    (["OUTPUT_DIR", "3"], "OUTPUT_DIR is 3, of type int; it takes text"),
    (["MODEL.TEXT.CLASSES", "a,b"], "MODEL.TEXT.CLASSES is 'a,b', of type str; it takes a list"),
    (["DATASETS.TEST", "a"], "DATASETS.TEST is 'a', of type str; it takes a list, such as .'ovseg"),
    (["SOLVER", "3"], "SOLVER is 3, of type int; it takes keys of its own, and no value"),
    (["SOLVER.MAX_ITER"], r"\['SOLVER.MAX_ITER'\] are 1 words; give keys and values in turn"),
    (["SEED", "1", "SOLVER.MAX_ITER"], "are 3 words; give keys and values in turn"),
]


@pytest.mark.parametrize(("opts", "words"), OPTIONS, ids=lambda value: " ".join(value)[:30])
def test_bad_options(opts, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_config(None, opts)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


FILES = {
    "unknown key": ("SOLVER:\n  MAX_ITR: 1\n", "on-existent config key: SOLVER.MAX_ITR; .*lists"),
    "unknown section": ("NOPE:\n  A: 1\n", "on-existent config key: NOPE"),
    "wrong type": (
        "SOLVER:\n  MAX_ITER: x\n",
        "SOLVER.MAX_ITER is 'x', of type str; it takes",
    ),
    "no section": ("SOLVER: 3\n", "SOLVER is 3, of type int; it takes keys of its own"),
    "empty section": ("SOLVER:\n", "SOLVER is None, of type NoneType; it takes keys of its own"),
    "empty": ("", "keys and values are not where they should be"),
    "a number": ("3\n", "keys and values are not where they should be"),
    "a list": ("- 1\n", "keys and values are not where they should be"),
    "no YAML": ("a: [\n", "while parsing a flow node"),
    "no text": (b"\xff\xfe\x00", "a.yaml"),
    "code": ("OUTPUT_DIR: !!python/object/apply:os.getcwd []\n", "could not determine a constr"),
    "base missing": ("_BASE_: none.yaml\n", "No such file or directory: .*none.yaml; correct its"),
    "base is itself": ("_BASE_: a.yaml\n", "its _BASE_ leads back to the file itself"),
    "base is a number": ("_BASE_: 3\n", "keys and values are not where they should be"),
    "base is a folder": ("_BASE_: .\n", "correct its _BASE_ or the file's permissions"),
    "device": ("MODEL:\n  DEVICE: gpu\n", "MODEL.DEVICE 'gpu' is no device"),
    "no device": ("MODEL:\n  DEVICE: null\n", "MODEL.DEVICE None is no device"),
}


@pytest.fixture
def _shallow() -> Iterator[None]:
    """Let endless recursion end soon."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("_shallow")
@pytest.mark.parametrize("case", FILES)
def test_bad_files(tmp_path, case):
    text, words = FILES[case]
    file = write(tmp_path, "a.yaml", text)
    with pytest.raises(ValueError, match=words) as caught:
        load_config(file)
    assert "device" in case or repr(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["none.yaml", "", "."])
def test_missing_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="config file '.*' does not exist; the project's"):
        load_config(name)


def test_find_config_resolves_the_projects_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = load_config("configs/clip_short.yaml")  # its _BASE_ is beside it
    assert result == load_config(ROOT / "configs" / "clip_short.yaml")
    assert find_config(Path("configs/paper/ovseg_base.yaml")).is_file()
    own = tmp_path / "configs"
    own.mkdir()
    write(own, "clip_short.yaml", "SOLVER:\n  MAX_ITER: 7\nVERSION: 2\n")
    assert load_config("configs/clip_short.yaml").SOLVER.MAX_ITER == 7


def test_missing_config_names_similar_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "mine.yaml", "VERSION: 2\n")
    where = f"the project's are in {ROOT / 'configs'}; similar names are "
    with pytest.raises(FileNotFoundError, match=f"{where}configs/maskclip.yaml"):
        load_config("configs/masklip.yaml")
    with pytest.raises(FileNotFoundError, match=f"{where}mine.yaml"):
        load_config("mine.yml")
    with pytest.raises(FileNotFoundError, match="'x{5000}' does not exist; the project's are in"):
        load_config("x" * 5000)


# --- every key has a reader


@cache
def keys_read(source: str) -> set[tuple[str, ...]]:
    """Return the config keys that a module reads, also through aliases.

    After ``solver = cfg.SOLVER``, ``solver.EPS`` is read as ("SOLVER", "EPS"). Chains that are
    assigned to are not read.
    """
    result = set()
    for scope in ast.walk(ast.parse(source)):
        if isinstance(scope, ast.FunctionDef):
            aliases: dict[str, tuple[str, ...]] = {}
            for node in ast.walk(scope):
                if isinstance(node, ast.Assign) and len(node.targets) == 1:
                    chain = _chain(node.value, aliases)
                    if chain and isinstance(node.targets[0], ast.Name):
                        aliases[node.targets[0].id] = chain
            for node in ast.walk(scope):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    result.add(_chain(node, aliases))
    return result - {None}


def _chain(node: ast.AST, aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The keys of ``cfg.A.B`` or ``self.cfg.A.B``, or of an alias of one; None for all else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and node.attr.isupper():
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return (*aliases[node.id], *parts)
    is_config = (isinstance(node, ast.Name) and node.id == "cfg") or (
        isinstance(node, ast.Attribute) and node.attr == "cfg"
    )
    return tuple(parts) if is_config and parts else None


def unread_keys(cfg: CfgNode, sources: list[str]) -> set[str]:
    theirs = get_cfg()
    add_deeplab_config(theirs)
    ours = set(leaves(cfg)) - set(leaves(theirs))
    read = set().union(*map(keys_read, sources))
    return {".".join(key) for key in ours - read}


@cache
def package_sources() -> list[str]:
    left_out = {PACKAGE / "d2", PACKAGE / "config"}
    paths = [path for path in PACKAGE.rglob("*.py") if left_out.isdisjoint(path.parents)]
    # The one module of the config that reads keys for others.
    paths.append(PACKAGE / "config" / "mask_options.py")
    return [path.read_text(encoding="utf-8") for path in paths]


def test_every_key_is_read():
    assert unread_keys(load_config(), package_sources()) == set()


def test_unread_keys_are_detected():
    cfg = load_config()
    cfg.MODEL.CLIP.UNREAD = 1
    cfg.SOLVER.WRITTEN = 1
    cfg.OTHER = CfgNode({"NAME": 1})  # read of other sections, not of this one
    source = "def build(cfg):\n    solver = cfg.SOLVER\n    solver.WRITTEN = solver.BASE_LR\n"
    assert unread_keys(cfg, [*package_sources(), source]) == {
        "MODEL.CLIP.UNREAD",
        "SOLVER.WRITTEN",
        "OTHER.NAME",
    }


def test_keys_read_follows_aliases():
    source = """
def build(self, cfg):
    clip = cfg.MODEL.CLIP
    block = clip.LAST_BLOCK
    return clip.NAME, block.MLP, self.cfg.SEED, other.MODEL.NOPE, cfg.clone()
"""
    assert keys_read(source) >= {
        ("MODEL", "CLIP", "NAME"),
        ("MODEL", "CLIP", "LAST_BLOCK", "MLP"),
        ("SEED",),
    }
    assert not [key for key in keys_read(source) if "NOPE" in key]
