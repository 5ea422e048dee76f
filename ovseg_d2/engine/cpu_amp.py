"""Mixed precision on CPUs; detectron2 has it for CUDA alone."""

import logging
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..d2.engine import SimpleTrainer

__all__ = ["CPUAMPTrainer"]

_logger = logging.getLogger(__name__)


class CPUAMPTrainer(SimpleTrainer):
    """A :class:`SimpleTrainer` whose models compute their losses in bfloat16 on the CPU.

    Weights, gradients and the optimizer stay in float32, and losses need no scaling, because
    bfloat16 has float32's range. It is faster on CPUs with instructions for it; others imitate it
    many times slower, with a warning. As with detectron2's ``AMPTrainer``, evaluation is unchanged.
    """

    def __init__(
        self, model: nn.Module, data_loader: Iterable[Any], optimizer: torch.optim.Optimizer
    ) -> None:
        """Args are those of :class:`SimpleTrainer`."""
        super().__init__(model, data_loader, optimizer)
        if not _has_bfloat16():
            _logger.warning(
                "SOLVER.AMP.ENABLED True: this CPU has no instructions for bfloat16 and imitates "
                "them, many times slower than float32; set it to False, or train where there are"
            )

    def run_step(self) -> None:
        """Load a batch, compute losses and gradients, write metrics, step the optimizer.

        Raises:
            AssertionError: the model is in eval mode.
            FloatingPointError: the summed losses are not finite.
        """
        assert self.model.training, "[CPUAMPTrainer] model was changed to eval mode!"
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self.model(data)
            if isinstance(losses, torch.Tensor):
                losses = {"total_loss": losses}
            total_loss = sum(losses.values())
        self.optimizer.zero_grad()
        total_loss.backward()
        self.after_backward()
        self._write_metrics(losses, data_time)
        self.optimizer.step()


def _has_bfloat16() -> bool:
    """Whether this CPU reports bfloat16 instructions; True where it reports nothing about them."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older torch
    reported = [value for name, value in capabilities.items() if "bf16" in name]
    return any(reported) or not reported
