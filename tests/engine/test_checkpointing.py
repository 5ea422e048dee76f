"""Checkpoints survive what happens while they are written; weights that do not fit are told."""

import errno
import logging
import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_d2.engine import checkpointing
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.files import WriteError


@pytest.fixture(autouse=True)
def log(monkeypatch, caplog) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    with caplog.at_level(logging.INFO):
        yield caplog


class Net(nn.Module):
    def __init__(self, width: int = 3, names: str = "ab") -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(2, width) for name in names})


def value_of(net: Net) -> float:
    return net.layers["a"].weight.sum().item()


def test_save_then_load(tmp_path):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    saver = Checkpointer(net, str(tmp_path), optimizer=optimizer)
    saver.save("model_0000001", iteration=1)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    other = Net()
    rate = torch.optim.SGD(other.parameters(), lr=0.1)
    loader = Checkpointer(other, str(tmp_path), optimizer=rate)
    assert loader.resume_or_load("", resume=True) == {"iteration": 1}
    assert value_of(other) == value_of(net)
    assert rate.param_groups[0]["lr"] == 0.5
    # Weights alone, and not what belongs to the other training.
    third = Net()
    rate = torch.optim.SGD(third.parameters(), lr=0.1)
    path = str(tmp_path / "model_0000001.pth")
    Checkpointer(third, str(tmp_path), optimizer=rate).resume_or_load(path, resume=False)
    assert value_of(third) == value_of(net) and rate.param_groups[0]["lr"] == 0.1


def test_no_weights_keep_the_initial_ones(tmp_path, log):
    net = Net()
    before = value_of(net)
    with log.at_level(logging.DEBUG, logger="fvcore"):
        Checkpointer(net, str(tmp_path)).resume_or_load("", resume=True)
    assert value_of(net) == before
    # Its CLIP may have weights of MODEL.CLIP.PRETRAINED: it starts from scratch only without.
    assert "from scratch" not in log.text


def test_only_the_main_process_writes(tmp_path):
    Checkpointer(Net(), str(tmp_path), save_to_disk=False).save("model")
    Checkpointer(Net()).save("model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_leaves_the_former_checkpoint(tmp_path, monkeypatch, number):
    net = Net()
    saver = Checkpointer(net, str(tmp_path))
    saver.save("model_0000001")
    kept = sorted(path.name for path in tmp_path.iterdir())

    def fill(content, file):
        file.write(b"half of it")
        raise OSError(number, os.strerror(number))

    for name in ("model_0000003", "model_0000001"):
        monkeypatch.setattr(checkpointing.torch, "save", fill)
        with pytest.raises(WriteError, match=f"cannot write .*{name}.pth: .* free some space"):
            saver.save(name)
        monkeypatch.undo()
        assert sorted(path.name for path in tmp_path.iterdir()) == kept
        before = value_of(net)
        Checkpointer(net, str(tmp_path)).resume_or_load("", resume=True)
        assert value_of(net) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"\x80\x02.", b"PK\x03\x04 a broken archive"],
    ids=["empty", "text", "pickle", "zip"],
)
def test_broken_newest_checkpoint_is_one_sentence(tmp_path, content):
    saver = Checkpointer(Net(), str(tmp_path))
    saver.save("model_0000001")
    saver.save("model_0000003")
    (tmp_path / "model_0000003.pth").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        Checkpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)
    sentence = str(caught.value)
    assert sentence.startswith(f"cannot read the checkpoint '{tmp_path / 'model_0000003.pth'}': ")
    assert sentence.endswith(
        "to resume from an earlier one, write its name, such as model_0000001.pth, into "
        f"{tmp_path / 'last_checkpoint'}"
    )
    assert "\n" not in sentence
    # What the sentence says works.
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    Checkpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)


def test_truncated_checkpoint_is_one_sentence(tmp_path):
    Checkpointer(Net(), str(tmp_path)).save("model")
    path = tmp_path / "model.pth"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        ValueError, match=r"^cannot read .*model\.pth.*start again without --resume$"
    ):
        Checkpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)
    with pytest.raises(ValueError, match=r"^cannot read .*model\.pth.*give another file$"):
        Checkpointer(Net()).load(str(path))


@pytest.mark.parametrize("named", ["model_0000009.pth", ""])
def test_missing_checkpoint_is_one_sentence(tmp_path, named):
    Checkpointer(Net(), str(tmp_path)).save("model_0000001")
    (tmp_path / "last_checkpoint").write_text(named)
    with pytest.raises(FileNotFoundError, match="does not exist; .*model_0000001.pth") as caught:
        Checkpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)
    assert caught.value.filename is None  # so that the tools show the sentence alone


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([torch.ones(1)], "it holds a list, not a state dict"),
        ({"model": {}}, "it holds no weights by name"),
        ({"a": torch.ones(1), "b": {}}, "its entry 'b' is not a tensor"),
        ({0: torch.ones(1)}, "the key of one of its entries is an int, which is not the name of"),
        ({"layers.a.bias": torch.tensor([1.0, float("nan")])}, "its entry 'layers.a.bias' has val"),
    ],
)
def test_load_refuses_other_content(tmp_path, content, problem):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=problem):
        Checkpointer(Net()).load(str(path))


def save(tmp_path, weights) -> str:
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    return str(path)


def test_load_refuses_other_shapes(tmp_path):
    path = save(tmp_path, Net(width=4).state_dict())
    with pytest.raises(ValueError) as caught:
        Checkpointer(Net()).load(path)
    assert str(caught.value) == (
        f"{path} does not fit Net: 4 of another shape: layers.a.bias (4,) instead of (3,), "
        "layers.a.weight (4, 2) instead of (3, 2), layers.b.bias (4,) instead of (3,), "
        "layers.b.weight (4, 2) instead of (3, 2); give a checkpoint of this model (weights of "
        "CLIP alone belong in MODEL.CLIP.PRETRAINED)"
    )


def test_load_refuses_other_models_with_at_most_five_names(tmp_path):
    path = save(tmp_path, {f"other.{n}": torch.ones(1) for n in range(7)})
    with pytest.raises(ValueError) as caught:
        Checkpointer(Net()).load(path)
    sentence = str(caught.value)
    assert "4 missing: layers.a.bias, layers.a.weight, layers.b.bias, layers.b.weight;" in sentence
    assert "7 unexpected: other.0, other.1, other.2, other.3, other.4, ...;" in sentence


def test_load_warns_of_partly_fitting_weights(tmp_path, log):
    source, net = Net(names="ax"), Net()
    untouched = net.layers["b"].weight.clone()
    path = save(tmp_path, {"model": source.state_dict()})
    Checkpointer(net).load(path)
    assert value_of(net) == value_of(source)
    assert torch.equal(net.layers["b"].weight, untouched)
    told = [record for record in log.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in told] == [
        f"{path} does not fit Net: 2 missing: layers.b.bias, layers.b.weight; "
        "2 unexpected: layers.x.bias, layers.x.weight; the rest is loaded"
    ]


def test_resume_needs_everything_to_fit(tmp_path):
    Checkpointer(Net(names="ax"), str(tmp_path)).save("model")
    with pytest.raises(ValueError, match="2 missing: .*resume with the config that it was trained"):
        Checkpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)


def test_load_plain_weights_of_several_kinds(tmp_path, log):
    source = Net()
    state = source.state_dict()
    for weights in (
        state,
        {f"module.{name}": value for name, value in state.items()},
        {f"_orig_mod.{name}": value for name, value in state.items()},
        {f"module._orig_mod.{name}": value for name, value in state.items()},
        {"state_dict": state, "epoch": 3},
        {"model_state_dict": state},
        {"weights": state},
        {"state_dict_ema": state},
    ):
        net = Net()
        Checkpointer(net).load(save(tmp_path, weights))
        assert value_of(net) == value_of(source)
    assert not [record for record in log.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("name", ["../other.pth", "/other.pth", "sub/model.pth", ".."])
def test_last_checkpoint_stays_in_its_folder(tmp_path, name):
    saver = Checkpointer(Net(), str(tmp_path / "output"))
    saver.save("model")
    Checkpointer(Net(), str(tmp_path)).save("other")
    (tmp_path / "output" / "last_checkpoint").write_text(name)
    with pytest.raises(ValueError, match="names '.*', which is not a file name; write"):
        Checkpointer(Net(), str(tmp_path / "output")).resume_or_load("", resume=True)


def test_load_reads_a_query_behind_the_name(tmp_path):
    source, net = Net(), nn.ModuleDict({"backbone": Net()})
    path = save(tmp_path, source.state_dict())
    Checkpointer(net).load(f"{path}?matching_heuristics=True")
    assert value_of(net["backbone"]) == value_of(source)
    with pytest.raises(ValueError, match="colour"):
        Checkpointer(net).load(f"{path}?colour=red")


def test_load_arrays_of_a_model_zoo_file(tmp_path):
    import pickle

    source, net = Net(), Net()
    path = tmp_path / "zoo.pkl"
    arrays = {name: np.asarray(value) for name, value in source.state_dict().items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    Checkpointer(net).load(str(path))
    assert value_of(net) == value_of(source)
