"""Files that write a canary if loading executes them."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["LIVE", "MAKERS", "add_import_trap"]

MODULE = "trap_that_writes_a_canary"  # importing it is enough


class Calls:
    """An object that is pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


class _Module(nn.Module):
    """A module that writes a file when TorchScript restores it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.path = path

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.weight

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.weight = state[0]
        self.path = state[1]
        self.training = state[2]
        torch.save(state[0], state[1])


def add_import_trap(folder: Path, canary: Path) -> None:
    """Write the module whose import writes the canary; `folder` is to be on the path."""
    (folder / f"{MODULE}.py").write_text(f"open({str(canary)!r}, 'w').close()\nKind = object\n")


def _touch(canary: Path) -> tuple[Any, str]:
    return os.system, f"touch {canary}"


def _python(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def _zoo(part: Any, protocol: int = 2) -> bytes:
    """detectron2's layout of a .pkl, one weight of which is `part`."""
    content = {"model": {"weight": part}, "__author__": "somebody"}
    return pickle.dumps(content, protocol=protocol)


def _torch(part: Any, *, archive: bool = True) -> bytes:
    file = io.BytesIO()
    content = {"state_dict": {"weight": torch.ones(2), "other": part}}
    torch.save(content, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def _reconstruct_of_another_type(canary: Path) -> bytes:
    """numpy's function for arrays, given a type whose import runs code."""
    return (
        b"\x80\x02}(X\x05\0\0\0model}X\x06\0\0\0weight"
        b"cnumpy.core.multiarray\n_reconstruct\n"
        b"c" + MODULE.encode() + b"\nKind\nK\0\x85U\x01b\x87RsX\x0a\0\0\0__author__X\x01\0\0\0au."
    )


def _naming(canary: Path) -> bytes:
    """Arrays under names of Caffe2's, and an object whose class runs code when it is imported."""
    array = pickle.dumps(np.ones(2, np.float32), 2)[2:-1]
    kind = b"c" + MODULE.encode() + b"\nKind\n)\x81"
    return b"\x80\x02}(X\x06\0\0\0conv_w" + array + b"X\x05\0\0\0other" + kind + b"u."


def _script(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(_Module(str(canary))), file)
    return file.getvalue()


def _script_by_name_alone(canary: Path) -> bytes:
    """An archive like TorchScript's, with a pickle of Python."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Calls(*_touch(canary)), 2))
        archive.writestr("x/constants.pkl", pickle.dumps((Calls(*_touch(canary)),), 2))
    return file.getvalue()


def _zip_in_a_zip(canary: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inner.pth", _torch(Calls(*_touch(canary))))
    return file.getvalue()


def _tar(canary: Path) -> bytes:
    """The format before PyTorch 0.1.10, which torch.load of 2.5 ran even with weights_only."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Calls(*_touch(canary)), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _with_state(canary: Path) -> bytes:
    """BUILD, which sets attributes of an imported object, here of the canary's module."""
    return b"\x80\x02c" + MODULE.encode() + b"\nKind\n)\x81}X\x05\0\0\0stateK\x01sb."


def _safetensors(canary: Path) -> bytes:
    """A header that promises 2**62 bytes, and a pickle where the values should be."""
    about = {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}
    header = json.dumps({"weight": about}).encode()
    return len(header).to_bytes(8, "little") + header + _zoo(Calls(*_touch(canary)))


_Maker = Callable[[Path], bytes]
# File name -> its content. The ones in LIVE write the canary when `pickle.loads` reads them.
LIVE: dict[str, _Maker] = {
    "system.pkl": lambda canary: _zoo(Calls(*_touch(canary))),
    "eval.pkl": lambda canary: _zoo(Calls(eval, _python(canary)), 4),
    "exec0.pkl": lambda canary: _zoo(Calls(exec, _python(canary)), 0),
    "partial.pkl": lambda canary: _zoo(Calls(partial(*_touch(canary))), 3),
    "loads.pkl": lambda canary: _zoo(Calls(pickle.loads, _zoo(Calls(*_touch(canary))))),
    "rebuild.pkl": lambda canary: _zoo(
        Calls(torch._tensor._rebuild_from_type_v2, os.system, str, _touch(canary)[1:], {})
    ),
    "reconstruct.pkl": _reconstruct_of_another_type,
    "instance.pkl": lambda canary: f"(S'touch {canary}'\nios\nsystem\n.".encode(),
    "object.pkl": lambda canary: f"(cos\nsystem\nS'touch {canary}'\no.".encode(),
    "map.pkl": lambda canary: _zoo(Calls(list, Calls(map, os.system, [_touch(canary)[1]])), 4),
    "naming.pkl": _naming,
    "state.pkl": _with_state,
    "pickle.pt": lambda canary: _zoo(Calls(*_touch(canary))),
    "pickle.safetensors": lambda canary: _zoo(Calls(*_touch(canary)), 5),
}
MAKERS: dict[str, _Maker] = {
    **LIVE,
    "archive.pth": lambda canary: _torch(Calls(*_touch(canary))),
    "archive.safetensors": lambda canary: _torch(Calls(eval, _python(canary))),
    "legacy.pth": lambda canary: _torch(Calls(*_touch(canary)), archive=False),
    "tar.pth": _tar,
    "script.pt": _script,
    "script.bin": _script_by_name_alone,
    "nested.pth": _zip_in_a_zip,
    "header.safetensors": _safetensors,
}
