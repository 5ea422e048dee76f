"""A training that notes down every step; run by path, it kills itself while it saves.

Usage: python train_worker.py RECORD_FILE CHECKPOINT_TO_DIE_IN KEY VALUE ...
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import HookBase
from ovseg_d2.engine import Trainer


class Record(HookBase):
    """Appends a line for each step: iteration, digest of the batch, loss."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = ""

    def before_train(self) -> None:
        self.trainer.model.register_forward_pre_hook(self._note)

    def _note(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        digest = hashlib.sha256()
        if module.training:
            for sample in args[0]:
                digest.update(sample["image"].numpy().tobytes())
                digest.update(repr(sample.get("drawn_captions", sample.get("noun"))).encode())
            self._digest = digest.hexdigest()

    def after_step(self) -> None:
        loss = self.trainer.storage.latest()["total_loss"][0]
        line = json.dumps([self.trainer.iter, self._digest, loss])
        with open(self._path, "a") as file:
            file.write(line + "\n")


def train(opts: list[str], record: Path, resume: bool) -> Trainer:
    """Train as the tool does; each step is noted down in ``record``."""
    torch.manual_seed(0)
    trainer = Trainer(load_config(None, opts))
    trainer.register_hooks([Record(record)])
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def read_record(path: Path) -> dict[int, tuple[str, float]]:
    """Iteration -> digest, loss; of repeated iterations the last."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {iteration: (digest, loss) for iteration, digest, loss in lines}


if __name__ == "__main__":
    torch.set_num_threads(1)
    record_file, last_words, *keys = sys.argv[1:]
    save = torch.save

    def save_and_die(content: dict[str, Any], file: Any) -> None:
        if content["iteration"] != int(last_words):
            save(content, file)
            return
        file.write(b"PK" + bytes(100_000))
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_and_die
    train(keys, Path(record_file), resume=False)
