"""Communication between the processes of one job."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.utils.comm import *
else:
    from detectron2.utils.comm import (
        all_gather,
        gather,
        get_local_rank,
        get_rank,
        get_world_size,
        is_main_process,
        synchronize,
    )
