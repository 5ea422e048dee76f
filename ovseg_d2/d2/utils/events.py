"""The numbers of a training run and their writers (``detectron2.utils.events``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.events import (
        CommonMetricPrinter,
        EventStorage,
        EventWriter,
        JSONWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )
else:
    from ..standin.utils.events import (
        CommonMetricPrinter,
        EventStorage,
        EventWriter,
        JSONWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]
