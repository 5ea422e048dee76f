"""Checks of the devices that a config or a command names."""

import torch

__all__ = ["check_device", "resolve_device"]

# Errors of torch for a device type that its build or the machine does not support.
_UNSUPPORTED = (RuntimeError, AssertionError, ImportError)


def resolve_device(name: str, *, argument: str = "MODEL.DEVICE") -> str:
    """Return ``cuda`` or, without CUDA, ``cpu`` for ``auto``, and any other device unchanged.

    Args:
        name: of a device.
        argument: its config key or option, for errors.

    Raises:
        ValueError: the name of no device.
    """
    if isinstance(name, str) and name.lower() == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name if isinstance(name, str) else "")
    except RuntimeError as error:
        raise ValueError(
            f"{argument} {name!r} is no device; write auto, cpu, cuda or cuda:N"
        ) from error
    return name


def check_device(name: str, *, argument: str = "MODEL.DEVICE") -> None:
    """Refuse a device that the machine, or this build of torch, does not have.

    CUDA devices are only counted: a process that has used one cannot fork any more.

    Args:
        name: of a device, not ``auto``.
        argument: its config key or option, for errors.

    Raises:
        ValueError: the device cannot hold a tensor.
    """
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ValueError(
                f"{argument} {name!r} is not there: {count} CUDA devices are visible; set it to "
                "auto or cpu"
            )
        return
    try:
        torch.zeros(1, device=device).cpu()  # fails for "meta", whose tensors hold no values
    except _UNSUPPORTED as error:
        raise ValueError(
            f"{argument} {name!r} is not there: this torch or this machine does not support the "
            f"device type {device.type!r}; set it to auto, cpu or cuda"
        ) from error
