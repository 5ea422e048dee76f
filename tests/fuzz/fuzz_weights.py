"""Weight files of all formats: `read_state_dict`, with and without their values."""

import io
import math
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from harness import Reader
from mutate import mutate_bytes
from safetensors.torch import save
from torch import Tensor, nn

from ovseg_d2.weight_files import read_state_dict

_State = dict[str, Tensor]
_MOST_VALUES = 2**27  # a damaged file of some kB may repeat values, but not fill the memory


def _net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))


def _save(content: object, *, archive: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def _script(net: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(net), file)
    return file.getvalue()


def _pickle(state: _State, protocol: int) -> bytes:
    arrays = {name: value.numpy() for name, value in state.items()}
    return pickle.dumps({"model": arrays, "__author__": "fuzz"}, protocol=protocol)


_NET = _net()
_STATE: _State = dict(_NET.state_dict())
_FORMATS: dict[str, Callable[[_State], bytes]] = {
    "bare.pth": lambda state: _save(state, archive=True),
    "wrapped.pth": lambda state: _save(
        {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3},
        archive=True,
    ),
    "legacy.pth": lambda state: _save({"model": state}, archive=False),
    "zoo2.pkl": lambda state: _pickle(state, 2),
    "zoo5.pkl": lambda state: _pickle(state, 5),
    "weights.safetensors": save,
    "script.pt": lambda state: _script(_NET),
}
_FILES = {name: write(_STATE) for name, write in _FORMATS.items()}


def _make_case(rng: random.Random, folder: Path) -> tuple[Path, bool]:
    name = rng.choice(list(_FILES))
    data = _FILES[name]
    damaged = data
    if rng.random() > 0.1:
        change = mutate_bytes if rng.random() < 0.5 else _change_value
        inside = data.startswith(b"PK") and rng.random() < 0.7
        damaged = _change_entry(rng, data, change) if inside else change(rng, data)
    path = folder / rng.choice((name, "weights.pt", "weights.pkl", "weights.safetensors"))
    path.write_bytes(damaged)
    return path, damaged == data


def _change_value(rng: random.Random, data: bytes) -> bytes:
    """Overwrite some bytes by numbers that readers trust: lengths, offsets, opcodes of pickles."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed))
        new = rng.choice((b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0\0\0\x80", rng.randbytes(1)))
        changed[at : at + len(new)] = new
    return bytes(changed)


def _change_entry(
    rng: random.Random, data: bytes, change: Callable[[random.Random, bytes], bytes]
) -> bytes:
    """Damage one entry of an archive, mostly its pickle, under a checksum that is right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        main = next(name for name in names if name.endswith("/data.pkl"))
        chosen = main if rng.random() < 0.8 else rng.choice(names)
        for name in names:
            entry = old.read(name)
            new.writestr(name, change(rng, entry) if name == chosen and entry else entry)
    return file.getvalue()


def _read(case: tuple[Path, bool]) -> _State:
    layout = read_state_dict(case[0], values=False)
    state = read_state_dict(case[0])
    assert sorted(layout) == sorted(state)
    return state


def _check(case: tuple[Path, bool], state: _State) -> str | None:
    if case[1]:
        if sorted(state) != sorted(_STATE):
            return f"entries {list(state)}"
        wrong = [name for name, value in _STATE.items() if not torch.equal(state[name], value)]
        return f"other values of {wrong}" if wrong else None
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    if not tensors or not all(isinstance(name, str) for name in state):
        return f"no weights by name: {state!r:.300}"
    if any(math.prod(value.shape) > _MOST_VALUES for value in tensors):
        return f"larger than the file: {[value.shape for value in tensors]}"
    if not all(torch.isfinite(value.double()).all() for value in tensors):
        return "not finite"
    return None


READER = Reader("weights", _make_case, _read, _check)
