"""What each process of test_launch does; it is run by path, with OUTPUT_DIR as a global."""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovseg_d2.d2.engine import SimpleTrainer
from ovseg_d2.d2.utils import comm


class Slope(nn.Module):
    """Loss ``slope * x``: its gradient is the process's own x."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.slope * x}


rank = comm.get_rank()
report = {
    "rank": rank,
    "local_rank": comm.get_local_rank(),
    "world_size": comm.get_world_size(),
    "is_main": comm.is_main_process(),
    "all_gather": comm.all_gather({"rank": rank}),
    "gather": comm.gather(rank * 10),
    "gather_to_1": comm.gather(rank * 10, dst=1),
}
comm.synchronize()

model = DistributedDataParallel(Slope())
trainer = SimpleTrainer(
    model, [torch.tensor(float(rank + 1))], torch.optim.SGD(model.parameters(), lr=0.5)
)
trainer.train(0, 1)
report["slope"] = model.module.slope.item()
report["losses"] = {
    name: history.latest()
    for name, history in trainer.storage.histories().items()
    if "loss" in name
}
Path(OUTPUT_DIR, f"{rank}.json").write_text(json.dumps(report))  # noqa: F821
