"""Logs on the screen and in a file."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.utils.logger import *
else:
    from detectron2.utils.logger import setup_logger
