"""Hooks of the plugin's trainer."""

import torch

from ..d2.engine import HookBase
from ..d2.utils import comm

__all__ = ["SeedEachStep"]


class SeedEachStep(HookBase):
    """Make what a model draws in a step a function of (seed, iteration, rank).

    Then a run that is resumed from a checkpoint repeats the uninterrupted run's dropout too, and
    no generator's state has to be saved.
    """

    def __init__(self, seed: int) -> None:
        """Keep the run's seed."""
        self._seed = seed % 2**16

    def before_step(self) -> None:
        """Seed torch's generators for this step."""
        # 32 bits: 16 of the seed would collide with iterations if merely added, so they are apart.
        value = (self._seed << 40) + (int(self.trainer.iter) << 12) + comm.get_rank()
        torch.manual_seed(value)
