"""The one path manager of the stand-in (``detectron2.utils.file_io``): local files and http(s)."""

from iopath.common.file_io import HTTPURLHandler
from iopath.common.file_io import PathManager as _PathManager

__all__ = ["PathManager"]

# An instance, not the class: a handler that a user registers here stays out of other libraries.
PathManager = _PathManager()
PathManager.register_handler(HTTPURLHandler())
