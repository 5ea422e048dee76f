"""Half precision is widened, nothing else is."""

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
def test_types(dtype, expected):
    values = torch.tensor([0.5, -3.0], dtype=dtype)
    found = at_least_float32(values)
    assert found.dtype == expected and found.tolist() == [0.5, -3.0]
