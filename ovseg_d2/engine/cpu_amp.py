"""Mixed precision on CPUs, which detectron2 has for CUDA alone."""

import time

import torch

from ..d2.engine import SimpleTrainer

__all__ = ["CPUAMPTrainer"]


class CPUAMPTrainer(SimpleTrainer):
    """A :class:`SimpleTrainer` whose models compute their losses in bfloat16 on the CPU.

    Weights, gradients and the optimizer stay in float32, and losses need no scaling, for bfloat16
    has float32's range. Faster on CPUs with instructions for it, slower on others. Like
    detectron2's ``AMPTrainer`` it leaves evaluation as it is.
    """

    def run_step(self) -> None:
        """Data, losses, gradients, a look at the losses, the optimizer's step.

        Raises:
            AssertionError: something left the model in eval mode.
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
