"""The training loop and its hooks (``detectron2.engine.train_loop``)."""

import logging
import sys
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..utils import comm
from ..utils.events import EventStorage, get_event_storage

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]

_logger = logging.getLogger("detectron2.engine.train_loop")


class HookBase:
    """Something done beside the training steps, such as saving, measuring or evaluating.

    A trainer calls its hooks in the order of registration::

        before_train
        for each iteration: before_step, the step itself (with after_backward), after_step
        after_train

    ``after_train`` is also called when training fails. Costly work belongs into ``after_step``:
    time spent in ``before_step`` counts as the step's own. A hook with a state returns it from
    ``state_dict`` and takes it back in ``load_state_dict``.

    Attributes:
        trainer: weak proxy of the trainer, set at registration.
    """

    trainer: "TrainerBase"

    def before_train(self) -> None:
        """Called once, before the first iteration."""

    def after_train(self) -> None:
        """Called once, after the last iteration or a failure."""

    def before_step(self) -> None:
        """Called before each iteration."""

    def after_backward(self) -> None:
        """Called between the gradients and the optimizer's step, by the loop that owns both."""

    def after_step(self) -> None:
        """Called after each iteration."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint saves; empty for none."""
        return {}


class TrainerBase(ABC):
    """A loop with hooks; subclasses define the step.

    Attributes:
        iter: the current iteration, from 0; ``max_iter`` after a training that was completed.
        start_iter: where the loop starts.
        max_iter: where it ends, exclusive.
        storage: the numbers of the run, open during training.
    """

    max_iter: int
    storage: EventStorage

    def __init__(self) -> None:
        """Start at iteration 0 without hooks."""
        self._hooks: list[HookBase] = []
        self.iter = 0
        self.start_iter = 0

    def register_hooks(self, hooks: Sequence[HookBase | None]) -> None:
        """Append hooks; None entries are left out.

        Raises:
            AssertionError: an entry is not a :class:`HookBase`.
        """
        for hook in hooks:
            if hook is None:
                continue
            assert isinstance(hook, HookBase), f"{hook!r} is not a HookBase; derive it from it."
            # Strong references both ways would keep trainer, hooks and model alive.
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run iterations ``start_iter`` (inclusive) to ``max_iter`` (exclusive)."""
        _logger.info(f"Starting training from iteration {start_iter}")
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        completed = False
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                for self.iter in range(start_iter, max_iter):
                    self.before_step()
                    self.run_step()
                    self.after_step()
                # Shows after_train that the training is complete, now or in an earlier run.
                self.iter = max(start_iter, max_iter)
                completed = True
            finally:
                if not completed and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
                    # log.txt shall have the error that stopped the run, which propagates from here.
                    _logger.error("Exception during training:", exc_info=True)
                self.after_train()

    def before_train(self) -> None:
        """Call the hooks' ``before_train``."""
        for hook in self._hooks:
            hook.before_train()

    def after_train(self) -> None:
        """Call the hooks' ``after_train``."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.after_train()

    def before_step(self) -> None:
        """Bring the storage to this iteration and call the hooks' ``before_step``."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.before_step()

    def after_backward(self) -> None:
        """Call the hooks' ``after_backward``."""
        for hook in self._hooks:
            hook.after_backward()

    def after_step(self) -> None:
        """Call the hooks' ``after_step``."""
        for hook in self._hooks:
            hook.after_step()

    @abstractmethod
    def run_step(self) -> None:
        """Do one iteration."""

    def state_dict(self) -> dict[str, Any]:
        """The iteration, and the state of each hook by class name (the first of equal names)."""
        state: dict[str, Any] = {"iteration": self.iter}
        hook_states: dict[str, Any] = {}
        for hook in self._hooks:
            hook_state = hook.state_dict()
            if hook_state:
                hook_states.setdefault(type(hook).__qualname__, hook_state)
        if hook_states:
            state["hooks"] = hook_states
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the result of :meth:`state_dict`; states of missing hooks are ignored."""
        self.iter = state_dict["iteration"]
        for name, hook_state in state_dict.get("hooks", {}).items():
            hook = next((h for h in self._hooks if type(h).__qualname__ == name), None)
            if hook is None:
                _logger.warning(f"Cannot find the hook '{name}', its state_dict is ignored.")
            else:
                hook.load_state_dict(hook_state)


class SimpleTrainer(TrainerBase):
    """One model, one optimizer, one stream of data; losses are summed."""

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Set the model to training mode and keep the parts.

        Args:
            model: takes a batch of the loader; returns a scalar loss or a dict of losses.
            data_loader: endless; its iterator is made at the first step.
            optimizer: over the model's parameters.
        """
        super().__init__()
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self._data_loader_iter_obj: Iterator[Any] | None = None

    @property
    def _data_loader_iter(self) -> Iterator[Any]:
        # Made late, so that workers do not start for a trainer that only evaluates.
        if self._data_loader_iter_obj is None:
            self._data_loader_iter_obj = iter(self.data_loader)
        return self._data_loader_iter_obj

    def run_step(self) -> None:
        """Data, losses, gradients, a look at the losses, the optimizer's step.

        Raises:
            AssertionError: something left the model in eval mode.
            FloatingPointError: the summed losses are not finite; parameters are untouched.
        """
        name = type(self).__name__
        assert self.model.training, f"[{name}] model was changed to eval mode!"
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start

        loss_dict, total_loss = self._compute_losses(data)
        self.optimizer.zero_grad()
        self._backward(total_loss)
        self.after_backward()
        self._write_metrics(loss_dict, data_time)
        self._update_parameters()

    def _compute_losses(self, data: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        losses = self.model(data)
        if isinstance(losses, Tensor):
            losses = {"total_loss": losses}
        return losses, sum(losses.values())

    def _backward(self, total_loss: Tensor) -> None:
        total_loss.backward()

    def _update_parameters(self) -> None:
        self.optimizer.step()

    def _write_metrics(self, loss_dict: Mapping[str, Tensor], data_time: float) -> None:
        """Average the losses over all processes, refuse NaN and record them on rank 0."""
        storage = get_event_storage()
        storage.put_scalar("rank_data_time", data_time, cur_iter=self.iter)
        metrics = {name: loss.detach().item() for name, loss in loss_dict.items()}
        everyones = comm.gather((metrics, data_time))
        if not comm.is_main_process():
            return

        # The slowest process is the one that all wait for.
        storage.put_scalar("data_time", max(t for _, t in everyones), cur_iter=self.iter)
        means = {name: float(np.mean([m[name] for m, _ in everyones])) for name in metrics}
        total_loss = sum(means.values())
        if not np.isfinite(total_loss):
            raise FloatingPointError(
                f"Loss became infinite or NaN at iteration={self.iter}!\nloss_dict = {means}"
            )
        storage.put_scalar("total_loss", total_loss, cur_iter=self.iter)
        if len(means) > 1:
            storage.put_scalars(cur_iter=self.iter, **means)

    def state_dict(self) -> dict[str, Any]:
        """As the base's, with the optimizer's state."""
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the result of :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])


class AMPTrainer(SimpleTrainer):
    """A :class:`SimpleTrainer` in CUDA's automatic mixed precision, with scaled gradients."""

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Keep the parts, as :class:`SimpleTrainer` does; the model is on CUDA."""
        super().__init__(model, data_loader, optimizer)
        self.grad_scaler = torch.amp.GradScaler("cuda")

    def run_step(self) -> None:
        """As :class:`SimpleTrainer`'s; raises AssertionError where there is no CUDA."""
        assert torch.cuda.is_available(), "[AMPTrainer] CUDA is required for AMP training!"
        super().run_step()

    def _compute_losses(self, data: Any) -> tuple[Mapping[str, Tensor], Tensor]:
        with torch.autocast("cuda", dtype=torch.float16):
            return super()._compute_losses(data)

    def _backward(self, total_loss: Tensor) -> None:
        self.grad_scaler.scale(total_loss).backward()

    def _update_parameters(self) -> None:
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """As :class:`SimpleTrainer`'s, with the scaler's state."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the result of :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
