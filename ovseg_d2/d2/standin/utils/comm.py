"""Communication between the processes of one job; trivial for a single process.

Stands in for ``detectron2.utils.comm``. Objects travel by pickle over gloo, also where the model
itself is spread over NCCL, so that gathering results takes no GPU memory.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist

__all__ = [
    "all_gather",
    "create_local_process_group",
    "gather",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "synchronize",
]

_local_group: dist.ProcessGroup | None = None


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes of the job, over all machines."""
    return dist.get_world_size() if _is_distributed() else 1


def get_rank() -> int:
    """Index of this process in the job, in [0, world size)."""
    return dist.get_rank() if _is_distributed() else 0


def is_main_process() -> bool:
    """Whether this process has rank 0, which writes files and prints."""
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Set which processes share a machine; every process calls it once.

    ``launch`` does. A job that starts in another way does it after ``init_process_group``.

    Args:
        num_workers_per_machine: processes per machine; divides the world size.

    Raises:
        AssertionError: it is the second call, or the world size is not divisible.
    """
    global _local_group
    world_size = get_world_size()
    assert _local_group is None, "The local process group exists already; create it only once."
    assert world_size % num_workers_per_machine == 0, (
        f"num_workers_per_machine={num_workers_per_machine} does not divide the world size "
        f"{world_size}; every machine must run the same number of processes."
    )
    own_machine = get_rank() // num_workers_per_machine
    # new_group is collective: each process takes part in making every machine's group.
    for machine in range(world_size // num_workers_per_machine):
        first = machine * num_workers_per_machine
        group = dist.new_group(list(range(first, first + num_workers_per_machine)))
        if machine == own_machine:
            _local_group = group


def _require_local_group() -> dist.ProcessGroup:
    assert _local_group is not None, (
        "The local process group is missing: start the job with `launch()`, or call "
        "`comm.create_local_process_group(num_workers_per_machine)` after "
        "torch.distributed.init_process_group()."
    )
    return _local_group


def get_local_rank() -> int:
    """Index of this process among those of its machine: the GPU it works on."""
    return dist.get_rank(group=_require_local_group()) if _is_distributed() else 0


def synchronize() -> None:
    """Wait until every process calls this function."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        # NCCL would otherwise guess the device, and warn that it does.
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


@lru_cache
def _gloo_world() -> dist.ProcessGroup:
    if dist.get_backend() == dist.Backend.NCCL:
        return dist.new_group(backend="gloo")
    return dist.group.WORLD


def all_gather(data: Any) -> list[Any]:
    """Return the ``data`` of all processes, which can be pickled, in the order of ranks."""
    if get_world_size() == 1:
        return [data]
    gathered: list[Any] = [None] * get_world_size()
    dist.all_gather_object(gathered, data, group=_gloo_world())
    return gathered


def gather(data: Any) -> list[Any]:
    """Return what :func:`all_gather` returns, on rank 0; an empty list on other ranks."""
    if get_world_size() == 1:
        return [data]
    gathered: list[Any] | None = [None] * get_world_size() if is_main_process() else None
    dist.gather_object(data, gathered, dst=0, group=_gloo_world())
    return gathered or []
