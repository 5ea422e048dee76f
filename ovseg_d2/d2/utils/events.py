"""The numbers of a training run and their writers."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.utils.events import *
else:
    from detectron2.utils.events import (
        EventStorage,
        EventWriter,
        get_event_storage,
        has_event_storage,
    )
