"""One process of test_sinkhorn; run by path, with RANK (None: alone) and FOLDER as globals."""

import os
from pathlib import Path

import torch
import torch.distributed as dist

from ovseg_d2.ops import assign_clusters

rank, folder = RANK, Path(FOLDER)  # noqa: F821
if rank is not None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)

torch.manual_seed(0)
cosines, memory = torch.rand(11, 4), torch.rand(5, 4)
report = {}
# Masks of rank 0, of rank 1.
for counts in ((3, 8), (11, 0), (0, 0), (5, 6)):
    own = {None: slice(0, sum(counts)), 0: slice(0, counts[0]), 1: slice(counts[0], sum(counts))}
    for dtype, official in ((torch.float32, False), (torch.bfloat16, True)):
        logits = cosines[own[rank]].to(dtype)
        options = {"epsilon": 0.01, "num_iters": 4, "official": official, "memory": memory}
        found = assign_clusters(logits, **options)
        report[counts, official] = vars(found)

if rank is not None:
    torch.save(report, folder / f"{rank}.pt")
    # torch's gloo at times aborts a process that takes its group down while the other one does.
    dist.barrier()
    os._exit(0)
