"""The work of each process of test_launch; run by path, with OUTPUT_DIR as a global."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.engine import SimpleTrainer
from ovseg_d2.d2.evaluation import SemSegEvaluator, inference_on_dataset
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

# Rank 0 evaluates two images and rank 1 one; all pixels are predicted as sky.
LABELS = [[[0, 0]], [[1, 1]], [[0, 1]]]
DatasetCatalog.register(
    "two", lambda: [{"file_name": str(i), "sem_seg_file_name": str(i)} for i in range(3)]
)
MetadataCatalog.get("two").set(stuff_classes=["sky", "sea"], ignore_label=255)
evaluator = SemSegEvaluator(
    "two",
    output_dir=OUTPUT_DIR,  # noqa: F821
    sem_seg_loading_fn=lambda name, dtype: np.array(LABELS[int(name)], dtype=dtype),
)
batches = [[{"file_name": "0"}], [{"file_name": "1"}]] if rank == 0 else [[{"file_name": "2"}]]
sky = [{"sem_seg": torch.eye(2)[0][:, None, None].expand(2, 1, 2)}]
results = inference_on_dataset(lambda batch: sky, batches, evaluator).get("sem_seg", {})
report["metrics"] = [results.get("pACC"), results.get("IoU-sky")]
Path(OUTPUT_DIR, f"{rank}.json").write_text(json.dumps(report))  # noqa: F821
