"""One of two processes that train together; keeps what it ends with.

Run by path, as a function of `launch`: with OPTS, the config's keys, and FOLDER as globals.
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist

from ovseg_d2.config import load_config
from ovseg_d2.d2.utils import comm
from ovseg_d2.engine import Trainer

torch.set_num_threads(1)
torch.manual_seed(100 + comm.get_rank())  # the trainer's own seeds decide, not what lies about
trainer = Trainer(load_config(None, OPTS))  # noqa: F821
trainer.resume_or_load(resume=False)
trainer.train()
torch.save(trainer.model.module.state_dict(), Path(FOLDER) / f"{comm.get_rank()}.pt")  # noqa: F821
# torch's gloo at times aborts a process that takes its group down while the other one does.
dist.barrier()
os._exit(0)
