"""Starting a job in several processes, on one machine or more (``detectron2.engine.launch``)."""

import gc
import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..utils import comm

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=30)

_logger = logging.getLogger("detectron2.engine.launch")


def launch(
    main_func: Callable[..., object],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple[Any, ...] = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Call ``main_func(*args)`` in every process of a job; each machine calls this once.

    A job of one process runs in the caller. Otherwise processes are spawned, so ``main_func`` and
    ``args`` must be picklable. They communicate over NCCL with CUDA, else over gloo.

    Args:
        main_func: the work; its result is dropped.
        num_gpus_per_machine: processes on each machine; with CUDA at most one for each GPU.
        num_machines: machines of the job.
        machine_rank: index of this one.
        dist_url: where rank 0 listens, e.g. ``tcp://10.0.0.1:49152``. "auto" picks a free port of
            this machine; None leaves it to the environment (MASTER_ADDR, MASTER_PORT).
        args: arguments of ``main_func``.
        timeout: how long a process waits for the others before it gives up.

    Raises:
        AssertionError: ``dist_url`` is "auto" and there are several machines.
        torch.multiprocessing.ProcessRaisedException: a process failed; it has the traceback.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size == 1:
        main_func(*args)
        return
    if dist_url == "auto":
        assert num_machines == 1, "dist_url=auto not supported in multi-machine jobs."
        dist_url = f"tcp://127.0.0.1:{_find_free_port()}"
    if num_machines > 1 and dist_url is not None and dist_url.startswith("file://"):
        _logger.warning("file:// is not a reliable init_method in multi-machine jobs. Use tcp://")
    mp.spawn(
        _run_worker,
        args=(
            main_func,
            args,
            world_size,
            num_gpus_per_machine,
            machine_rank,
            dist_url,
            timeout,
        ),
        nprocs=num_gpus_per_machine,
    )


def _find_free_port() -> int:
    # Another program may take the port before rank 0 listens; init_process_group then raises.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run_worker(
    local_rank: int,
    main_func: Callable[..., object],
    args: tuple[Any, ...],
    world_size: int,
    num_gpus_per_machine: int,
    machine_rank: int,
    dist_url: str | None,
    timeout: timedelta,
) -> None:
    """Join the job's process group, then do the work."""
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        num_gpus = torch.cuda.device_count()
        assert num_gpus_per_machine <= num_gpus, (
            f"num_gpus_per_machine={num_gpus_per_machine}, but {num_gpus} GPUs are visible here; "
            f"ask for at most {num_gpus}."
        )
        torch.cuda.set_device(local_rank)
    try:
        dist.init_process_group(
            backend="nccl" if on_gpus else "gloo",
            init_method=dist_url,
            world_size=world_size,
            rank=machine_rank * num_gpus_per_machine + local_rank,
            timeout=timeout,
        )
    except (RuntimeError, ValueError):
        _logger.error(f"Process group URL: {dist_url}")
        raise
    comm.create_local_process_group(num_gpus_per_machine)
    # A process that is slow to start must not eat into the first collective's timeout.
    comm.synchronize()
    main_func(*args)
    # No process leaves while another needs it. Cycles of the work (DDP's models hold the group) are
    # collected first: a group that outlives its destruction aborts the exit.
    comm.synchronize()
    gc.collect()
    dist.destroy_process_group()
