"""Run a worker file as rank RANK of two processes and save its `report`.

Run by path, with WORKER (a path), RANK and FOLDER as globals. The worker file sees RANK, and None
where the test runs it alone.
"""

import os
import runpy
from pathlib import Path

import torch
import torch.distributed as dist

rank, folder = RANK, Path(FOLDER)  # noqa: F821
torch.set_num_threads(1)
dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
report = runpy.run_path(WORKER, {"RANK": rank})["report"]  # noqa: F821
torch.save(report, folder / f"{rank}.pt")
# torch's gloo sometimes aborts a process that destroys its group at the same time as the other.
dist.barrier()
os._exit(0)
