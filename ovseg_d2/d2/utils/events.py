"""The numbers of a training run and their writers."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.events import (
        EventStorage,
        EventWriter,
        get_event_storage,
        has_event_storage,
    )
else:
    from ..standin.utils.events import *
