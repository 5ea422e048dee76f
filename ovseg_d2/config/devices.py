"""Devices that a config or a command names."""

import torch

__all__ = ["check_device", "resolve_device"]

# What torch raises for a device type that this build of torch, or this machine, does not support.
_UNSUPPORTED = (RuntimeError, AssertionError, ImportError)


def resolve_device(name: str, *, argument: str = "MODEL.DEVICE") -> str:
    """``auto`` becomes ``cuda`` where there is one and ``cpu`` elsewhere; all else stays.

    Args:
        name: of a device.
        argument: the config key or option that holds it, for errors.

    Raises:
        ValueError: no name of a device.
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
    """Refuse a device that is not there, or that this build of torch does not support.

    CUDA devices are counted and not touched: a process that has touched one cannot fork any more.

    Args:
        name: of a device, without ``auto``.
        argument: the config key or option that holds it, for errors.

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
        torch.zeros(1, device=device).cpu()  # "meta" makes tensors, but they hold no values
    except _UNSUPPORTED as error:
        raise ValueError(
            f"{argument} {name!r} is not there: this torch or this machine does not support the "
            f"device type {device.type!r}; set it to auto, cpu or cuda"
        ) from error
