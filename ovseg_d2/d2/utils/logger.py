"""Logs on the screen and in a file (``detectron2.utils.logger``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.logger import (
        create_small_table,
        log_every_n,
        log_every_n_seconds,
        log_first_n,
        setup_logger,
    )
else:
    from ..standin.utils.logger import (
        create_small_table,
        log_every_n,
        log_every_n_seconds,
        log_first_n,
        setup_logger,
    )

__all__ = [
    "create_small_table",
    "log_every_n",
    "log_every_n_seconds",
    "log_first_n",
    "setup_logger",
]
