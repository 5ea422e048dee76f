"""Each hook acts at its moments, on either provider."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.d2.engine import DefaultTrainer, HookBase, TrainerBase
from ovseg_d2.d2.utils.events import EventWriter, get_event_storage

hooks = sys.modules[DefaultTrainer.__module__].hooks


class Loop(TrainerBase):
    """Calls a function in each iteration."""

    def __init__(self, step: Callable[[int], Any] = lambda iteration: None) -> None:
        super().__init__()
        self._step = step

    def run_step(self) -> None:
        self._step(self.iter)


def run(hook_list: list[HookBase | None], num_iters: int = 10, start: int = 0, **kwargs) -> Loop:
    loop = Loop(**kwargs)
    loop.register_hooks(hook_list)
    loop.train(start, num_iters)
    return loop


def fail_at(iteration: int) -> Callable[[int], None]:
    def step(current: int) -> None:
        if current == iteration:
            raise RuntimeError("broken")

    return step


def test_moments_of_hooks_in_order():
    calls: list[str] = []

    class Notes(HookBase):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_train(self) -> None:
            calls.append(f"{self.name} before_train {self.trainer.iter}")

        def before_step(self) -> None:
            calls.append(f"{self.name} before_step {self.trainer.storage.iter}")

        def after_step(self) -> None:
            calls.append(f"{self.name} after_step {self.trainer.iter}")

        def after_train(self) -> None:
            calls.append(f"{self.name} after_train {self.trainer.storage.iter}")

    run([Notes("a"), None, Notes("b")], 4, start=3, step=lambda i: calls.append(f"step {i}"))
    assert calls == [
        "a before_train 3",
        "b before_train 3",
        "a before_step 3",
        "b before_step 3",
        "step 3",
        "a after_step 3",
        "b after_step 3",
        "a after_train 4",
        "b after_train 4",
    ]


def test_only_hooks_can_be_registered():
    with pytest.raises(AssertionError):
        Loop().register_hooks([object()])


def test_failure_ends_with_after_train_and_is_raised(library_log):
    seen: list[int] = []

    class Note(HookBase):
        def after_train(self) -> None:
            seen.append(self.trainer.iter)

    with pytest.raises(RuntimeError, match="broken"):
        run([Note()], step=fail_at(4))
    assert seen == [4]
    assert "Exception during training:" in library_log()


def test_states_of_hooks_travel_by_class_name(library_log):
    class Counter(HookBase):
        count = 0

        def after_step(self) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, int]:
            return {"count": self.count}

        def load_state_dict(self, state_dict: dict[str, int]) -> None:
            self.count = state_dict["count"]

    state = run([hooks.IterationTimer(), Counter()], 5).state_dict()
    (hook_state,) = state["hooks"].values()
    assert state["iteration"] == 5
    assert hook_state == {"count": 5}

    loop, counter = Loop(), Counter()
    loop.register_hooks([counter])
    loop.load_state_dict(state)
    assert (loop.iter, counter.count) == (5, 5)

    Loop().load_state_dict({"iteration": 1, "hooks": {"Gone": {"count": 5}}})
    assert "Cannot find the hook 'Gone', its state_dict is ignored." in library_log()


def test_timer_records_iterations_after_the_warmup(library_log):
    loop = run([hooks.IterationTimer(warmup_iter=3)], 10)
    assert [at for _, at in loop.storage.history("time").values()] == [2, 3, 4, 5, 6, 7, 8, 9]
    log = "\n".join(library_log())
    assert "Overall training speed: 8 iterations in 0:00:00 (" in log
    assert "Total training time: 0:00:00 (0:00:00 on hooks)" in log


class Recorder(EventWriter):
    """Notes when it is called."""

    def __init__(self) -> None:
        self.calls: list[int | str] = []

    def write(self) -> None:
        self.calls.append(get_event_storage().iter)

    def close(self) -> None:
        self.calls.append("closed")


@pytest.mark.parametrize(
    ("num_iters", "moments"), [(10, [3, 7, 9, 10, "closed"]), (8, [3, 7, 8, "closed"])]
)
def test_writers_write_every_period_and_at_the_end(num_iters, moments):
    writer = Recorder()
    run([hooks.PeriodicWriter([writer], period=4)], num_iters)
    assert writer.calls == moments


def test_writers_are_closed_after_a_failure():
    writer = Recorder()
    with pytest.raises(RuntimeError, match="broken"):
        run([hooks.PeriodicWriter([writer], period=4)], step=fail_at(2))
    assert writer.calls == [2, "closed"]


def test_only_writers_can_write():
    with pytest.raises(AssertionError):
        hooks.PeriodicWriter([SimpleNamespace(write=print)])


def test_checkpoints_every_period_and_at_the_end(tmp_path):
    checkpointer = DetectionCheckpointer(nn.Linear(1, 1), str(tmp_path))
    run([hooks.PeriodicCheckpointer(checkpointer, 4, max_to_keep=1)], 10)
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        "model_0000007.pth",
        "model_final.pth",
    ]
    assert torch.load(tmp_path / "model_final.pth")["iteration"] == 9


def optimizer_of(sizes_and_rates: list[tuple[int, float]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [
            {"params": [nn.Parameter(torch.zeros(1)) for _ in range(size)], "lr": rate}
            for size, rate in sizes_and_rates
        ],
        lr=9.0,
    )


@pytest.mark.parametrize(
    ("sizes_and_rates", "shown"),
    [
        ([(1, 1.0), (3, 2.0), (2, 4.0)], 2.0),  # the group with most tensors
        ([(1, 1.0), (1, 2.0), (1, 2.0)], 2.0),  # all of one tensor: the commonest rate
    ],
)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_rate_is_recorded_and_then_stepped(sizes_and_rates, shown):
    optimizer = optimizer_of(sizes_and_rates)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2], gamma=0.5)
    loop = run([hooks.LRScheduler(optimizer, scheduler)], 4)
    assert loop.storage.history("lr").values() == [
        (shown, 0),
        (shown, 1),
        (shown / 2, 2),
        (shown / 2, 3),
    ]
    assert loop.storage.latest_with_smoothing_hint()["lr"] == (shown / 2, 3)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_scheduler_and_optimizer_are_the_trainers_by_default():
    loop = Loop()
    loop.optimizer = optimizer_of([(1, 1.0)])
    loop.scheduler = torch.optim.lr_scheduler.ExponentialLR(loop.optimizer, gamma=0.1)
    loop.register_hooks([hooks.LRScheduler()])
    loop.train(0, 3)
    state = loop.state_dict()["hooks"]["LRScheduler"]
    assert state["last_epoch"] == 3

    other = Loop()
    other.scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer_of([(1, 1.0)]), gamma=0.1)
    other.register_hooks([hooks.LRScheduler()])
    other.load_state_dict(loop.state_dict())
    assert other.scheduler.last_epoch == 3


def test_results_are_recorded_flat_and_unsmoothed():
    loop = run([hooks.EvalHook(4, lambda: {"task": {"a": 1, "sub": {"b": "2.5"}}, "c": 3.0})], 10)
    for name, value in {"task/a": 1.0, "task/sub/b": 2.5, "c": 3.0}.items():
        assert loop.storage.history(name).values() == [(value, 3), (value, 7), (value, 10)]
        assert loop.storage.latest_with_smoothing_hint(99)[name] == (value, 10)


@pytest.mark.parametrize(("period", "num_calls"), [(0, 1), (5, 2), (10, 1)])
def test_number_of_evaluations(period, num_calls):
    calls: list[int] = []
    run([hooks.EvalHook(period, lambda: calls.append(1))], 10)
    assert len(calls) == num_calls


def test_failed_training_is_not_evaluated():
    calls: list[int] = []
    with pytest.raises(RuntimeError, match="broken"):
        run([hooks.EvalHook(0, lambda: calls.append(1))], 10, step=fail_at(3))
    assert not calls


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        ({"task": {"a": "much"}}, ValueError, "Got 'task/a: much' instead"),
        ({"a": [1.0]}, ValueError, r"Got 'a: \[1.0\]' instead"),
        ([1.0], AssertionError, r"must return a dict. Got \[1.0\] instead"),
    ],
)
def test_results_must_be_numbers_by_name(results, error, message):
    with pytest.raises(error, match=message):
        run([hooks.EvalHook(0, lambda: results)], 2)
