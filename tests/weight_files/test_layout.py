"""Names and shapes of a file, without reading its values."""

import torch
from safetensors.torch import save_file

from ovseg_d2.weight_files import read_checkpoint, read_state_dict


def test_read_without_values_gives_names_and_shapes(tmp_path):
    weights = {"a": torch.ones(2, 3), "b": torch.tensor(float("nan")), "c": torch.arange(4)}
    torch.save({"model": weights, "iteration": 3}, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth", values=False)
    assert found["iteration"] == 3
    save_file(weights, tmp_path / "a.safetensors")
    for layout in (found["model"], read_state_dict(tmp_path / "a.safetensors", values=False)):
        assert {k: v.shape for k, v in layout.items()} == {k: v.shape for k, v in weights.items()}
        assert all(value.is_meta for value in layout.values())


def test_read_without_values_touches_no_storage(tmp_path):
    torch.save({"a": torch.ones(100_000)}, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    start = data.index(torch.ones(8).numpy().tobytes())
    data[start : start + 8] = bytes(8)  # the checksum of the values is wrong now
    (tmp_path / "a.pth").write_bytes(data)
    assert list(read_state_dict(tmp_path / "a.pth", values=False)) == ["a"]
