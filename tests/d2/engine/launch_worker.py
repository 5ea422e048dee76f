"""What each process of test_launch does; it is run by path, with OUTPUT_DIR as a global."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.engine import SimpleTrainer, create_ddp_model
from ovseg_d2.d2.utils import comm


class Slope(nn.Module):
    """Loss ``slope * x``: its gradient is the process's own x."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.slope * x}


rank = comm.get_rank()
np.random.seed(rank)
report = {
    "rank": rank,
    "local_rank": comm.get_local_rank(),
    "world_size": comm.get_world_size(),
    "local_size": comm.get_local_size(),
    "is_main": comm.is_main_process(),
    "all_gather": comm.all_gather({"rank": rank}),
    "gather": comm.gather(rank * 10),
    "gather_to_1": comm.gather(rank * 10, dst=1),
    "shared_seed": comm.shared_random_seed(),
    "own_seed": int(np.random.RandomState(rank).randint(2**31)),
}
comm.synchronize()

# detectron2's own create_ddp_model is for GPUs only.
wrap = DistributedDataParallel if HAS_DETECTRON2 else create_ddp_model
model = wrap(Slope())
trainer = SimpleTrainer(
    model, [torch.tensor(float(rank + 1))], torch.optim.SGD(model.parameters(), lr=0.5)
)
trainer.train(0, 1)
report["is_wrapped"] = isinstance(model, DistributedDataParallel)
report["slope"] = model.module.slope.item()
report["losses"] = {
    name: history.latest()
    for name, history in trainer.storage.histories().items()
    if "loss" in name
}
Path(OUTPUT_DIR, f"{rank}.json").write_text(json.dumps(report))  # noqa: F821
