"""Talk between the processes of one job (``detectron2.utils.comm``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.comm import (
        all_gather,
        create_local_process_group,
        gather,
        get_local_rank,
        get_local_size,
        get_rank,
        get_world_size,
        is_main_process,
        shared_random_seed,
        synchronize,
    )
else:
    from ..standin.utils.comm import (
        all_gather,
        create_local_process_group,
        gather,
        get_local_rank,
        get_local_size,
        get_rank,
        get_world_size,
        is_main_process,
        shared_random_seed,
        synchronize,
    )

__all__ = [
    "all_gather",
    "create_local_process_group",
    "gather",
    "get_local_rank",
    "get_local_size",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "shared_random_seed",
    "synchronize",
]
