"""Other, damaged and not finite files through every path that loads weights."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from loading_paths import PATHS
from safetensors.torch import save

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.weight_files import WeightFileError, read_state_dict, read_weight_file


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


STATE = {"layer.weight": torch.ones(300), "layer.bias": torch.zeros(3)}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><body>Not Found</body></html>"
# (file name, content, part of the error)
FILES = {
    "empty": ("a.pth", b"", "it is empty; download it again"),
    "page": ("a.pt", PAGE, "it is an HTML page, which a server sent"),
    "page as pkl": ("a.pkl", PAGE, "it is an HTML page"),
    "lfs": ("a.safetensors", LFS, "it is a git-lfs pointer, .*; run `git lfs pull` there"),
    "text": ("a.pt", b"Entry not found", "it is a text that begins with 'Entry not found'"),
    "text as pkl": ("a.pkl", b"404: Not Found", "it is a text that begins with '404: Not Found'"),
    "image": ("a.pth", b"\x89PNG\r\n\x1a\n" + bytes(50), "it is a PNG image"),
    "packed": ("a.pth", b"\x1f\x8b\x08" + bytes(50), "it is a file packed by gzip; unpack it"),
    "noise": ("a.pth", bytes(range(144, 256)) * 4, "it is damaged, or of an unknown format"),
    "cut .pth": ("a.pth", saved(STATE)[:-200], "it is truncated: its end"),
    "cut .safetensors": ("a.safetensors", save(STATE)[:-200], "it is truncated: it has .* bytes"),
    "cut header": ("a.safetensors", save(STATE)[:40], "it is truncated: it has 40 of its .* bytes"),
    "npz": ("a.pth", zipped("weight.npy"), r"numpy's arrays \(.npz\)"),
    "zip": ("a.pth", zipped("readme.txt"), "it is a zip archive, but not of PyTorch"),
    "zip of one": ("a.pth", zipped("x/model.pth"), "holds 'x/model.pth'; unpack it"),
    "list": ("a.pth", saved([torch.ones(2)]), "it holds a list, not a state dict"),
    "number": ("a.pth", saved(3), "it holds an int, not a state dict"),
    "module": ("a.pth", saved(torch.nn.ReLU()), r"a whole object \(torch.nn.modules.*ReLU\)"),
    "wrapped module": ("a.pth", saved({"model": torch.nn.ReLU()}), "its entry 'model' holds a who"),
    "integer keys": (
        "a.pth",
        saved({0: torch.ones(2)}),
        "entries is an int, which is not the name",
    ),
    "odd name": (
        "a.pth",
        saved({"a\nb\033": torch.ones(2)}),
        "the key of one of its entries is 'a",
    ),
    "same name": (
        *("a.pth", saved({"a._orig_mod.b": torch.ones(2), "a.b": torch.ones(2)})),
        "it has the weight 'a.b' twice, once as 'a._orig_mod.b'",
    ),
    "in itself": ("a.pt", b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s.", "it holds no weights by name"),
    "no tensors": ("a.pth", saved({"epoch": 3}), "it holds no weights by name"),
    "nan": ("a.pth", saved(STATE | {"b": torch.tensor([1.0, np.nan])}), "'b' .* not finite"),
    "infinite": (
        "a.safetensors",
        save({"b": torch.tensor([torch.inf]).half()}),
        "'b' .* not finit",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_read_state_dict_describes_the_file(kind, tmp_path):
    name, content, expected = FILES[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightFileError, match=expected):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("way", PATHS)
def test_every_path_describes_damage(way, tmp_path, refuse):
    if way == "DefaultPredictor" and HAS_DETECTRON2:
        pytest.skip("detectron2's own checkpointer reads the file")
    for name, content, expected in FILES.values():
        path = tmp_path / name
        path.write_bytes(content)
        sentence = refuse(way, path)
        assert re.search(expected.split(";")[0], sentence)  # resuming has remedies of its own


def test_every_path_refuses_a_missing_file(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no weight file '.*'; check the path"):
            read_weight_file(path)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.complex64, torch.float8_e5m2]
)
def test_infinity_of_any_dtype_is_found(dtype, tmp_path):
    for values, finite in (([1.0, 2.0], True), ([1.0, torch.inf], False)):
        torch.save({"a": torch.tensor(values).to(dtype)}, tmp_path / "a.pth")
        if finite:
            assert read_state_dict(tmp_path / "a.pth")["a"].dtype == dtype
        else:
            with pytest.raises(WeightFileError, match="its entry 'a' has values that are not fin"):
                read_state_dict(tmp_path / "a.pth")


def test_values_other_than_numbers_are_ignored(tmp_path):
    content = {"model": {"a": torch.ones(1)}, "best": float("inf"), "losses": [float("nan")]}
    torch.save(content, tmp_path / "a.pth")
    assert list(read_state_dict(tmp_path / "a.pth")) == ["a"]
