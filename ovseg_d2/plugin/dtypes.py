"""Models whose weights are in half precision."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["supported_dtype"]


@contextmanager
def supported_dtype(model: nn.Module) -> Iterator[None]:
    """Translate the error of a device that cannot compute in the dtype of a model's weights.

    Args:
        model: the model that computes within the block.

    Raises:
        ValueError: the device lacks an operation for the dtype.
    """
    try:
        yield
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        weight = next(model.parameters())
        raise ValueError(
            f"a {type(model).__name__} in {weight.dtype} cannot run on {weight.device.type} "
            f"({error}); use .bfloat16() or .float()"
        ) from error
