"""Communication between the processes of one job."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.comm import (
        all_gather,
        gather,
        get_local_rank,
        get_rank,
        get_world_size,
        is_main_process,
        synchronize,
    )
else:
    from ..standin.utils.comm import *
