"""Contract of ovseg_d2.d2.checkpoint, with detectron2 and with the stand-in."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.checkpoint import DetectionCheckpointer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)


class NetWithStatistics(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.register_buffer("pixel_mean", torch.zeros(3))
        self.register_buffer("scale", torch.ones(1))


def same(first, second):
    return all(torch.equal(first.state_dict()[k], v) for k, v in second.state_dict().items())


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load what `save` writes into a model; returns the extra data and the warnings."""

    def load(model, content, name="weights.pth", query=""):
        path = tmp_path / name
        if name.endswith(".pkl"):
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path)
        checkpointer = DetectionCheckpointer(model)
        warnings = []
        # Not caplog: another test may have set up loggers that do not propagate.
        monkeypatch.setattr(
            checkpointer.logger, "warning", lambda text, *args: warnings.append(text % args)
        )
        return checkpointer.load(f"{path}{query}"), "\n".join(warnings)

    return load


class TestLoad:
    def test_weights_under_model(self, load):
        model, source = Net(), Net()
        extra, warnings = load(model, {"model": source.state_dict(), "iteration": 7})
        assert same(model, source)
        assert extra["iteration"] == 7
        assert warnings == ""

    def test_bare_weights(self, load):
        model, source = Net(), Net()
        load(model, source.state_dict())
        assert same(model, source)

    def test_weights_of_a_wrapped_model(self, load):
        model, source = Net(), Net()
        load(model, {"model": {f"module.{k}": v for k, v in source.state_dict().items()}})
        assert same(model, source)

    def test_into_a_wrapped_model(self, load):
        model, source = nn.DataParallel(Net()), Net()
        load(model, {"model": source.state_dict()})
        assert same(model.module, source)

    def test_arrays(self, load):
        model, source = Net(), Net()
        state = {k: v.numpy() for k, v in source.state_dict().items()}
        load(model, {"model": state, "__author__": "someone"}, "weights.pkl")
        assert same(model, source)

    def test_what_does_not_fit_is_told(self, load):
        model = Net()
        before = model.head.weight.clone()
        state = {"body.weight": torch.ones(2, 2), "body.bias": torch.zeros(2)}
        state.update({"head.weight": torch.ones(5, 2), "tail": torch.zeros(1)})
        _, warnings = load(model, {"model": state})
        assert torch.equal(model.body.weight, torch.ones(2, 2))
        assert torch.equal(model.head.weight, before)
        assert "head.weight" in warnings and "(5, 2)" in warnings and "(1, 2)" in warnings
        assert "tail" in warnings
        assert "head.{bias, weight}" in warnings

    def test_pixel_statistics_may_be_missing(self, load):
        _, warnings = load(NetWithStatistics(), {"model": {"weight": torch.zeros(1, 1)}})
        assert "bias" in warnings and "scale" in warnings
        assert "pixel_mean" not in warnings

    @pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 reads no such files")
    def test_state_dict_of_other_trainers(self, load):
        model, source = Net(), Net()
        extra, _ = load(model, {"state_dict": source.state_dict(), "epoch": 3})
        assert same(model, source) and extra["epoch"] == 3

    @pytest.mark.skipif(not HAS_DETECTRON2, reason="the stand-in reads such files")
    def test_state_dict_of_other_trainers_is_refused(self, load):
        with pytest.raises(ValueError, match="Unsupported type found in checkpoint!"):
            load(Net(), {"state_dict": Net().state_dict()})

    def test_missing_file(self, tmp_path):
        with pytest.raises(AssertionError, match="Checkpoint .*none.pth not found!"):
            DetectionCheckpointer(Net()).load(str(tmp_path / "none.pth"))

    def test_no_file(self):
        assert DetectionCheckpointer(Net()).load("") == {}

    def test_unknown_query(self, load):
        with pytest.raises(ValueError, match="Unsupported query remaining"):
            load(Net(), Net().state_dict(), query="?colour=red")


class TestMatchingByTheEndsOfNames:
    def make(self):
        """A model in which a Net lies deeper, and the same Net on its own."""
        model = nn.Module()
        model.backbone = Net()
        return model, Net()

    def test_asked_for_by_a_query(self, load):
        model, source = self.make()
        load(model, source.state_dict(), query="?matching_heuristics=True")
        assert same(model.backbone, source)

    def test_asked_for_by_the_file(self, load):
        model, source = self.make()
        state = {k: v.numpy() for k, v in source.state_dict().items()}
        content = {"model": state, "__author__": "someone", "matching_heuristics": True}
        load(model, content, "weights.pkl")
        assert same(model.backbone, source)

    def test_not_asked_for(self, load):
        model, source = self.make()
        load(model, source.state_dict())
        assert not same(model.backbone, source)

    def test_the_longest_end_wins(self, load):
        model, _ = self.make()
        state = {"weight": torch.zeros(1, 2), "body.weight": torch.ones(2, 2)}
        load(model, state, query="?matching_heuristics=True")
        assert torch.equal(model.backbone.body.weight, torch.ones(2, 2))
        assert torch.equal(model.backbone.head.weight, torch.zeros(1, 2))

    def test_only_whole_parts_of_names_count(self, load):
        model, _ = self.make()
        before = model.backbone.body.weight.clone()
        load(model, {"ody.weight": torch.ones(2, 2)}, query="?matching_heuristics=True")
        assert torch.equal(model.backbone.body.weight, before)

    def test_another_shape_is_left_out(self, load):
        model, source = self.make()
        before = model.backbone.head.weight.clone()
        state = {**source.state_dict(), "head.weight": torch.zeros(9, 2)}
        load(model, state, query="?matching_heuristics=True")
        assert torch.equal(model.backbone.head.weight, before)
        assert torch.equal(model.backbone.body.weight, source.body.weight)

    def test_ambiguous(self, load):
        model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
        with pytest.raises(ValueError):
            load(model, {"weight": torch.zeros(1, 1)}, query="?matching_heuristics=True")

    @pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 converts the names of Caffe2")
    def test_caffe2_is_refused(self, load):
        content = {"blobs": {"conv1_w": np.zeros((1, 1), dtype=np.float32)}}
        with pytest.raises(ValueError, match="Caffe2"):
            load(Net(), content, "R-50.pkl")


class TestSaveAndResume:
    def test_round_trip(self, tmp_path):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
        checkpointer = DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer)
        assert not checkpointer.has_checkpoint()
        checkpointer.save("model_0000004", iteration=4)
        assert checkpointer.has_checkpoint()
        assert Path(checkpointer.get_checkpoint_file()).name == "model_0000004.pth"
        assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"

        other = Net()
        other_optimizer = torch.optim.SGD(other.parameters(), lr=1.0)
        resumed = DetectionCheckpointer(other, str(tmp_path), optimizer=other_optimizer)
        extra = resumed.resume_or_load("", resume=True)
        assert same(model, other)
        assert other_optimizer.param_groups[0]["lr"] == 0.25
        assert extra["iteration"] == 4

    def test_not_resumed_it_loads_weights_only(self, tmp_path):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
        DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer).save("first")
        other = Net()
        other_optimizer = torch.optim.SGD(other.parameters(), lr=1.0)
        checkpointer = DetectionCheckpointer(other, str(tmp_path), optimizer=other_optimizer)
        checkpointer.resume_or_load(str(tmp_path / "first.pth"), resume=False)
        assert same(model, other)
        assert other_optimizer.param_groups[0]["lr"] == 1.0

    def test_nothing_is_written_where_it_shall_not(self, tmp_path):
        DetectionCheckpointer(Net(), str(tmp_path), save_to_disk=False).save("first")
        DetectionCheckpointer(Net(), "").save("first")
        assert list(tmp_path.iterdir()) == []

    def test_a_name_is_used_once(self):
        checkpointer = DetectionCheckpointer(Net(), net=Net())
        with pytest.raises(KeyError, match="net"):
            checkpointer.add_checkpointable("net", Net())
