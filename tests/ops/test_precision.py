"""`at_least_float32`."""

import pytest
import torch

from ovseg_d2.ops import at_least_float32


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_at_least_float32(dtype, expected):
    values = torch.tensor([0.5, -3.0], dtype=dtype)
    converted = at_least_float32(values)
    assert converted.dtype == expected and converted.tolist() == [0.5, -3.0]
