"""One of two processes that train models together; saves weights before and after each training.

Run by path, as a function of `launch`, with RUNS (name to keys and values of a config) and FOLDER
as globals.
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist

from ovseg_d2.config import load_config
from ovseg_d2.d2.utils import comm
from ovseg_d2.engine import Trainer

torch.set_num_threads(1)
for name, opts in RUNS.items():  # noqa: F821
    torch.manual_seed(100 + comm.get_rank())  # the trainer sets its own seeds
    trainer = Trainer(load_config(None, opts))
    trainer.resume_or_load(resume=False)
    weights = trainer.model.module.state_dict()
    start = {key: value.clone() for key, value in weights.items()}
    trainer.train()
    torch.save((start, dict(weights)), Path(FOLDER) / f"{name}_{comm.get_rank()}.pt")  # noqa: F821
# torch's gloo at times aborts a process that takes its group down while the other one does.
dist.barrier()
os._exit(0)
