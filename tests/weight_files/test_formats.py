"""Content of every format equals that of the library that wrote it."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ovseg_d2.weight_files import WeightFileError, below_wrappers, read_state_dict, read_weight_file

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
BASE = torch.arange(24.0)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_read_weight_file_reads_torch_save(tmp_path, archive, protocol):
    content = {
        "strided": BASE.view(4, 6).t()[1:3],
        "offset": BASE[3:],
        "repeated": torch.ones(1).expand(5),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        **{
            str(dtype): torch.ones(2).to(dtype)
            for dtype in (torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.complex64)
        },
    }
    path = tmp_path / "a.pth"
    torch.save(content, path, _use_new_zipfile_serialization=archive, pickle_protocol=protocol)
    assert_same(read_weight_file(path), torch.load(path, weights_only=False))


def test_storages_stay_shared(tmp_path):
    torch.save({"a": BASE, "b": BASE[2:]}, tmp_path / "a.pth")
    found = read_weight_file(tmp_path / "a.pth")
    found["a"][2] = -1
    assert found["b"][0] == -1


def test_dtypes_without_a_storage_class(tmp_path):
    content = {"a": torch.ones(3).to(torch.float8_e4m3fn), "b": torch.ones(3).to(torch.uint16)}
    torch.save(content, tmp_path / "a.pth")
    assert_same(
        {name: value.float() for name, value in read_weight_file(tmp_path / "a.pth").items()},
        {name: value.float() for name, value in content.items()},
    )


def test_read_weight_file_reads_a_training_checkpoint(tmp_path):
    net = nn.BatchNorm1d(3)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    content = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "numbers": (1, 2.5, None, True, [np.float64(2), "text"], 10**30),
        "size": torch.Size([1, 2]),
        "type": torch.float16,
        "random": torch.get_rng_state(),
        "array": np.arange(6).reshape(2, 3),
    }
    torch.save(content, tmp_path / "a.pth")
    found = read_weight_file(tmp_path / "a.pth")
    expected = torch.load(tmp_path / "a.pth", weights_only=False)
    assert isinstance(found["model"], OrderedDict)
    assert found["model"]._metadata == expected["model"]._metadata
    for name in ("numbers", "size", "type"):
        assert found[name] == expected[name]
    assert np.array_equal(found["array"], expected["array"])
    assert torch.equal(found["random"], expected["random"])
    optimizer.load_state_dict(found["optimizer"])
    assert repr(found["optimizer"]) == repr(expected["optimizer"])


class Part(nn.Module):
    def __init__(self, shared: nn.Linear):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.shared = shared
        self.weight = nn.Parameter(torch.rand(3))
        self.constant = torch.full((2,), -torch.inf)  # no parameter and no buffer
        self.names = ["a"]

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.shared(self.norm(values)) * self.weight + self.constant[0]


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        shared = nn.Linear(3, 3)
        self.register_buffer("size", torch.tensor(224))
        self.parts = nn.ModuleList([Part(shared), Part(shared)])
        self.scale = nn.Parameter(torch.rand(()).half())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            values = part(values)
        return values * self.scale.float()


@pytest.mark.parametrize("traced", [False, True])
def test_torchscript_is_read_without_execution(tmp_path, traced):
    net = Whole().eval()
    script = torch.jit.trace(net, torch.rand(2, 3)) if traced else torch.jit.script(net)
    path = tmp_path / "a.pt"
    torch.jit.save(script, path)
    expected = torch.jit.load(path).state_dict()
    assert len(expected) == 18
    assert_same(read_weight_file(path), expected)
    assert_same(read_state_dict(path), expected)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays(tmp_path, protocol):
    arrays = {
        "big": np.arange(6, dtype=">f4").reshape(2, 3).T,
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.ones((), np.int64),
        "empty": np.empty((0, 2)),
        "half": np.ones(2, np.float16),
        "bool": np.array([True, False]),
    }
    content = {"model": arrays, "__author__": "x", "other": np.float32(3), "text": np.array(["a"])}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_weight_file(path)
    assert found["__author__"] == "x" and found["other"] == 3
    for name, value in arrays.items():
        assert np.array_equal(found["model"][name], value)
        assert found["model"][name].dtype == value.dtype.newbyteorder("=")
    assert list(read_state_dict(path)) == list(arrays)


def test_pickles_of_python_2(tmp_path):
    # Its texts of bytes come as the one opcode, and its modules under their old names.
    data = (
        b"\x80\x02}q\x01(U\x05modelq\x02}q\x03U\x01aq\x04cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80\x3f\x00\x00"
        b"\x00\xc0tbsU\x0a__author__U\x01xu."
    )
    (tmp_path / "a.pkl").write_bytes(data)
    assert read_weight_file(tmp_path / "a.pkl")["model"]["a"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.pkl", "weights"])
def test_format_is_identified_by_content(tmp_path, name):
    state = {"a": torch.ones(2)}
    path = tmp_path / name
    for write in (save_file, torch.save, lambda state, path: path.write_bytes(pickled(state))):
        write(state, path)
        assert_same(read_state_dict(path), state)


def pickled(state) -> bytes:
    return pickle.dumps({name: value.numpy() for name, value in state.items()})


def change(path: Path, part: str, edit) -> None:
    """Rewrite one entry of an archive, with the checksum that fits."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            new.writestr(entry, edit(data) if entry.endswith(part) else data)
    path.write_bytes(file.getvalue())


def test_a_tensor_never_reaches_past_its_storage(tmp_path):
    path = tmp_path / "a.pth"
    for old, new in ((b"K\x08\x85", b"K\x09\x85"), (b"QK\x00", b"QK\x01"), (b"K\x08t", b"K\x09t")):
        torch.save({"a": torch.arange(8.0)}, path)
        change(path, "data.pkl", lambda data, old=old, new=new: data.replace(old, new))
        with pytest.raises(ValueError, match=r"a tensor of shape|its part 'data/0' has 32 bytes"):
            read_weight_file(path)


def test_a_small_file_fills_no_memory(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(1).expand(200)}, path)
    change(
        path,
        "data.pkl",
        lambda data: data.replace(b"K\xc8\x85", b"\x8a\x06" + b"\x7f" * 6 + b"\x85"),
    )
    with pytest.raises(ValueError, match="a tensor of shape"):
        read_weight_file(path)


@pytest.mark.parametrize(
    "data",
    [
        b"})" + b"\x85" * 20_000 + b"K\x01s",  # a key that is a tuple in a tuple in ...
        b")" + b"\x85" * 20_000,
        b"]" * 20_000 + b"a" * 19_999,
        b"]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(100)),
        b"}r\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 6 + b"\0\0",
        b"\x96" + b"\xff" * 6 + b"\0\0",
        b"}\x8b\xa0\x86\x01\0" + b"\x7f" * 100_000 + b"K\x01s",
    ],
)
def test_small_pickles_cost_no_time_or_memory(tmp_path, data):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x05" + data + b".")
    with pytest.raises(WeightFileError):
        read_state_dict(tmp_path / "a.pkl")


def test_modules_that_contain_each_other_are_refused(tmp_path):
    class Leaf(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values

    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(Leaf()), path)
    with zipfile.ZipFile(path) as archive:
        old = archive.read("a/data.pkl")
    module = old[2 : old.index(b"q\x00")] + b")\x81"  # an object of the class
    assert module.startswith(b"c__torch__")
    data = b"\x80\x02" + module + b"}bq\x00"
    for i in range(50):
        data += module + b"}(X\x01\0\0\0ah%cX\x01\0\0\0bh%cubq%c" % (i, i, i + 1)
    change(path, "data.pkl", lambda _: data + b".")
    with pytest.raises(WeightFileError, match="more than 100000 modules"):
        read_state_dict(path)


STATE = {"a": torch.ones(1), "b.c": torch.zeros(2)}


@pytest.mark.parametrize(
    "wrap",
    [
        *(lambda s, key=key: {key: s, "epoch": 3} for key in ("model", "state_dict", "weights")),
        *(
            lambda s, key=key: {key: s}
            for key in ("model_state_dict", "state_dict_ema", "model_ema")
        ),
        lambda s: {"model": {"state_dict": s}},
        lambda s: {f"module.{name}": value for name, value in s.items()},
        lambda s: {f"_orig_mod.{name}": value for name, value in s.items()},
        lambda s: {f"module._orig_mod.{name}": value for name, value in s.items()},
        lambda s: {f"_orig_mod.module.{name}": value for name, value in s.items()},
        lambda s: {name: value.numpy() for name, value in s.items()},
    ],
)
def test_wrapped_state_dicts_are_found(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"), STATE)


def test_find_weights_prefers_ema_on_request(tmp_path):
    torch.save({"state_dict": STATE, "state_dict_ema": {"a": torch.zeros(1)}}, tmp_path / "a.pth")
    assert_same(read_state_dict(tmp_path / "a.pth"), STATE)
    assert read_state_dict(tmp_path / "a.pth", ema_first=True)["a"] == 0


def test_below_wrappers_by_hand():
    state = {f"module.backbone.{name}": value for name, value in STATE.items()}
    state["module.head.bias"] = torch.ones(1)
    assert_same(below_wrappers(state, lambda: ["a", "b.c"]), STATE)
    kept = {"backbone.a": STATE["a"]}
    assert below_wrappers(kept, lambda: ["backbone.a"]) == kept
