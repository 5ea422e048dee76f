"""The processes of a job: their number, their meeting address, and their end with the job."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import torch

from ..d2.engine import launch
from ..parent_watch import end_with_parent

__all__ = ["check_dist_url", "check_processes", "launch_job"]

_PATIENCE = timedelta(minutes=30)  # detectron2's own


def check_processes(num_gpus: int, num_machines: int) -> None:
    """Check the number of processes.

    Args:
        num_gpus: processes on each machine, one per GPU if there are any.
        num_machines: of the job.

    Raises:
        ValueError: a number below 1, or more processes than visible GPUs.
    """
    visible = torch.cuda.device_count()
    if num_gpus < 1 or num_machines < 1:
        raise ValueError(
            f"--num-gpus {num_gpus} --num-machines {num_machines} starts no process; give at least "
            "1 of each"
        )
    if 0 < visible < num_gpus:
        raise ValueError(
            f"--num-gpus {num_gpus}, but {visible} are visible; give at most {visible}, or hide "
            "them (CUDA_VISIBLE_DEVICES=) to run on the CPU"
        )


def check_dist_url(url: str, num_gpus: int, num_machines: int, machine_rank: int) -> None:
    """Check that the processes of a job can meet at an address.

    Args:
        url: ``tcp://HOST:PORT``, ``auto`` or another address that torch accepts.
        num_gpus: processes on each machine.
        num_machines: of the job.
        machine_rank: index of this machine; machine 0 listens at the address.

    Raises:
        ValueError: no such machine, ``auto`` for several machines, a missing or unknown host, a
            missing port, or a port in use.
    """
    if not 0 <= machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank {machine_rank} is not one of the {num_machines} machines; give a "
            f"number from 0 to {num_machines - 1}"
        )
    if num_gpus * num_machines == 1:
        return
    if url == "auto":
        if num_machines > 1:
            raise ValueError(
                f"--dist-url auto works on one machine, and --num-machines is {num_machines}; give "
                "tcp://HOST:PORT, where HOST is the first machine"
            )
        return
    parts = urlsplit(url)
    if parts.scheme != "tcp":
        return
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # the port is not a number from 0 to 65535
        host = port = None
    if not host or not port:
        raise ValueError(f"--dist-url {url} is not tcp://HOST:PORT; give such an address, or auto")
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ValueError(
            f"--dist-url {url}: the host {host!r} is unknown ({error.strerror}); give the name or "
            "address of the first machine"
        ) from error
    if machine_rank > 0:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As in torch: a port is free again as soon as the former job has left it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(
                f"--dist-url {url}: cannot listen at port {port} ({error.strerror}), perhaps "
                "because another job runs; give another port, or --dist-url auto on one machine"
            ) from error


class _Work:
    """The work of one process of a job, which ends when the process that started it is gone.

    The watch starts when a new process unpickles its work, before it waits for the other processes.
    Interrupts are ignored: the process that started the job ends the others.
    """

    def __init__(self, work: Callable[..., object]) -> None:
        self.work = work
        self.starter = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_parent(self.starter)

    def __call__(self, *args: Any) -> None:
        self.work(*args)


def launch_job(
    work: Callable[..., object],
    num_gpus: int,
    *,
    args: tuple[Any, ...],
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    timeout: timedelta = _PATIENCE,
) -> None:
    """Call ``work(*args)`` in every process of a job by detectron2's ``launch``.

    Departs: started processes end with this one, even if it is killed.

    Args:
        work: picklable.
        num_gpus: processes on this machine; with 1 on 1 machine ``work`` runs in this process.
        args: arguments of ``work``, picklable.
        num_machines: of the job.
        machine_rank: index of this machine.
        dist_url: the address where the processes meet (:func:`check_dist_url`).
        timeout: of a process that waits for the others.

    Raises:
        ValueError: a bad address.
        torch.multiprocessing.ProcessExitedException: a process ended with an error code.
    """
    check_dist_url(dist_url, num_gpus, num_machines, machine_rank)
    alone = num_gpus * num_machines == 1
    try:
        launch(
            work if alone else _Work(work),
            num_gpus,
            num_machines=num_machines,
            machine_rank=machine_rank,
            dist_url=dist_url,
            args=args,
            timeout=timeout,
        )
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.kill()
        raise
