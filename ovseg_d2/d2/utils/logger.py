"""Logs on the screen and in a file."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.logger import setup_logger
else:
    from ..standin.utils.logger import *
