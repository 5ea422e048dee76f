"""Hooks of the default trainer (``detectron2.engine.hooks``)."""

import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.timer import Timer
from torch.optim.lr_scheduler import LRScheduler as _TorchLRScheduler

from ..utils import comm
from ..utils.events import EventWriter
from .train_loop import HookBase

__all__ = [
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
]

_logger = logging.getLogger("detectron2.engine.hooks")


class IterationTimer(HookBase):
    """Records the seconds of each iteration as scalar ``time`` and logs a summary at the end.

    The time between its ``before_step`` and ``after_step`` counts, so it is the first hook.
    """

    def __init__(self, warmup_iter: int = 3) -> None:
        """Leave out the first ``warmup_iter`` iterations, which pay for starting up."""
        self._warmup_iter = warmup_iter
        self._step_timer = Timer()
        self._total_timer = Timer()
        self._start_time = time.perf_counter()

    def before_train(self) -> None:
        """Start the clock."""
        self._restart()
        self._total_timer.pause()

    def _restart(self) -> None:
        self._start_time = time.perf_counter()
        self._total_timer.reset()

    def before_step(self) -> None:
        """Time the step from here."""
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self) -> None:
        """Record the step's time, once warm."""
        num_done = self.trainer.iter - self.trainer.start_iter + 1
        if num_done >= self._warmup_iter:
            self.trainer.storage.put_scalar("time", self._step_timer.seconds())
        else:
            self._restart()
        self._total_timer.pause()

    def after_train(self) -> None:
        """Log the pace, the whole time and the hooks' share of it."""
        total = time.perf_counter() - self._start_time
        steps = self._total_timer.seconds()
        # The last warm-up iteration is timed already.
        num_timed = self.trainer.iter - self.trainer.start_iter + 1 - self._warmup_iter
        if num_timed > 0 and steps > 0:
            _logger.info(
                f"Overall training speed: {num_timed} iterations in {_clock(steps)} "
                f"({steps / num_timed:.4f} s / it)"
            )
        _logger.info(f"Total training time: {_clock(total)} ({_clock(total - steps)} on hooks)")


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))


class PeriodicWriter(HookBase):
    """Lets the writers write, every ``period`` iterations and after the last."""

    def __init__(self, writers: Sequence[EventWriter], period: int = 20) -> None:
        """Keep the writers.

        Raises:
            AssertionError: one is not an :class:`EventWriter`.
        """
        for writer in writers:
            assert isinstance(writer, EventWriter), f"{writer!r} is not an EventWriter."
        self._writers = writers
        self._period = period

    def after_step(self) -> None:
        """Write if it is time."""
        num_done = self.trainer.iter + 1
        if num_done % self._period == 0 or num_done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        """Write the values that other hooks have added, and close."""
        for writer in self._writers:
            writer.write()
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """Saves ``model_<iteration>.pth`` every ``period`` iterations, ``model_final.pth`` at the end.

    Takes the arguments of fvcore's ``PeriodicCheckpointer``.
    """

    def before_train(self) -> None:
        """Read the last iteration from the trainer."""
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        """Save if it is time."""
        self.step(self.trainer.iter)


class LRScheduler(HookBase):
    """Steps the learning rate after each iteration; records the rate that the step was made with.

    The scalar ``lr`` is that of the parameter group with most tensors; where all groups hold one
    tensor, it is the commonest rate.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: _TorchLRScheduler | None = None,
    ) -> None:
        """Take optimizer and scheduler; the trainer's where None."""
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _TorchLRScheduler:
        """The schedule that is stepped and saved."""
        return self._scheduler or self.trainer.scheduler

    def before_train(self) -> None:
        """Choose the parameter group whose rate is recorded."""
        self._optimizer = self._optimizer or self.trainer.optimizer
        groups = self._optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if max(sizes) > 1:
            self._shown_group = sizes.index(max(sizes))
        else:
            rates = [group["lr"] for group in groups]
            commonest, _ = Counter(rates).most_common(1)[0]
            self._shown_group = rates.index(commonest)

    def after_step(self) -> None:
        """Record the rate, then step."""
        rate = self._optimizer.param_groups[self._shown_group]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's state."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the schedule's state."""
        _logger.info("Loading scheduler from state_dict ...")
        self.scheduler.load_state_dict(state_dict)


def _flatten(results: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a/b": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}/{key}": leaf for key, leaf in _flatten(value).items()})
        else:
            flat[name] = value
    return flat


class EvalHook(HookBase):
    """Evaluates every ``eval_period`` iterations and after a training that was completed.

    Numbers are recorded as scalars named ``task/metric``. Every process needs this hook,
    because evaluation synchronises them.
    """

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        """Keep the function.

        Args:
            eval_period: in iterations; 0 for none during training.
            eval_function: returns a nested dict of numbers, or nothing.
        """
        self._period = eval_period
        self._func = eval_function

    def _evaluate(self) -> None:
        results = self._func()
        if results:
            assert isinstance(results, Mapping), (
                f"Eval function must return a dict. Got {results} instead."
            )
            for name, value in _flatten(results).items():
                try:
                    value = float(value)
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        "[EvalHook] eval_function should return a nested dict of float. "
                        f"Got '{name}: {value}' instead."
                    ) from error
                self.trainer.storage.put_scalar(name, value, smoothing_hint=False)
        # Some processes have less to evaluate; the next step starts together.
        comm.synchronize()

    def after_step(self) -> None:
        """Evaluate if it is time, but leave the last iteration to :meth:`after_train`."""
        num_done = self.trainer.iter + 1
        if self._period > 0 and num_done % self._period == 0 and num_done < self.trainer.max_iter:
            self._evaluate()

    def after_train(self) -> None:
        """Evaluate unless training failed."""
        if self.trainer.iter >= self.trainer.max_iter:
            self._evaluate()
