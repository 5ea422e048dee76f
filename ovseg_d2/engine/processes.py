"""The processes of a job: where they meet, and that none outlives the job."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import torch

from ..d2.engine import launch

__all__ = ["check_dist_url", "check_processes", "end_with_parent", "launch_job"]

_PATIENCE = timedelta(minutes=30)  # detectron2's own
_LOOK_EVERY = 0.5  # seconds


def check_processes(num_gpus: int, num_machines: int) -> None:
    """Refuse a number of processes that cannot be.

    Args:
        num_gpus: processes asked for on each machine, one a GPU where there are any.
        num_machines: of the job.

    Raises:
        ValueError: none at all, or more than there are GPUs.
    """
    visible = torch.cuda.device_count()
    if num_gpus < 1 or num_machines < 1:
        raise ValueError(
            f"--num-gpus {num_gpus} --num-machines {num_machines} is no process at all; give at "
            "least 1 of each"
        )
    if 0 < visible < num_gpus:
        raise ValueError(
            f"--num-gpus {num_gpus}, but {visible} are visible; ask for at most so many, or hide "
            "them (CUDA_VISIBLE_DEVICES=) to run on the CPU"
        )


def check_dist_url(url: str, num_gpus: int, num_machines: int, machine_rank: int) -> None:
    """Refuse an address at which the processes of a job cannot meet.

    Args:
        url: ``tcp://HOST:PORT``, ``auto`` or another address that torch knows.
        num_gpus: processes on each machine.
        num_machines: of the job.
        machine_rank: index of this machine; the first one listens at the address.

    Raises:
        ValueError: no such machine, ``auto`` for several machines, no host or port, or a port that
            is in use.
    """
    if not 0 <= machine_rank < num_machines:
        raise ValueError(
            f"--machine-rank {machine_rank} is none of the {num_machines} machines; give one from "
            f"0 to {num_machines - 1}"
        )
    if num_gpus * num_machines == 1:
        return
    if url == "auto":
        if num_machines > 1:
            raise ValueError(
                f"--dist-url auto finds a port of one machine, and --num-machines is "
                f"{num_machines}; give tcp://HOST:PORT, where HOST is the first machine"
            )
        return
    parts = urlsplit(url)
    if parts.scheme != "tcp":
        return
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number from 0 to 65535
        host = port = None
    if not host or not port:
        raise ValueError(f"--dist-url {url} is no tcp://HOST:PORT; give one, or auto")
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ValueError(
            f"--dist-url {url}: the host {host!r} is not known here ({error.strerror}); give the "
            "name or address of the first machine"
        ) from error
    if machine_rank > 0:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As torch does it: a port is free again as soon as the former job has left it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(
                f"--dist-url {url}: port {port} cannot be listened at ({error.strerror}), perhaps "
                "because another job runs; give another port, or --dist-url auto on one machine"
            ) from error


class _Work:
    """The work of one process of a job, which ends when the process that started it is gone.

    The look-out starts when a new process unpickles its work, and so before it waits for the other
    processes. An interrupt is left to the process that started the job: it ends the others.
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


def end_with_parent(parent: int) -> None:
    """End this process, at once and without a word, when its parent is gone, even if killed.

    Args:
        parent: the parent's process id.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
        os._exit(1)

    threading.Thread(target=look, name="end_with_parent", daemon=True).start()


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

    Departs: started processes end with this one, whether it is interrupted or killed.

    Args:
        work: picklable.
        num_gpus: processes on this machine; 1 of 1 machine is this process itself.
        args: of ``work``, picklable.
        num_machines: of the job.
        machine_rank: index of this one.
        dist_url: where the processes meet.
        timeout: how long a process waits for the others.

    Raises:
        ValueError: see :func:`check_dist_url`.
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
