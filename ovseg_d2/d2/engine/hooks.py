"""The hooks of a training (``detectron2.engine.hooks``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.engine.hooks import (
        BestCheckpointer,
        CallbackHook,
        EvalHook,
        IterationTimer,
        LRScheduler,
        PeriodicCheckpointer,
        PeriodicWriter,
    )
else:
    from ..standin.engine.hooks import (
        BestCheckpointer,
        CallbackHook,
        EvalHook,
        IterationTimer,
        LRScheduler,
        PeriodicCheckpointer,
        PeriodicWriter,
    )

__all__ = [
    "BestCheckpointer",
    "CallbackHook",
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
]
