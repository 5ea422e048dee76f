"""Files, local and remote (``detectron2.utils.file_io``)."""

from ovseg_d2.d2 import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.file_io import PathHandler, PathManager
else:
    from ovseg_d2.d2.standin.utils.file_io import PathHandler, PathManager

__all__ = ["PathHandler", "PathManager"]
