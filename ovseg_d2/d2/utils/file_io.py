"""Files, local and remote (``detectron2.utils.file_io``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.file_io import PathHandler, PathManager
else:
    from ..standin.utils.file_io import PathHandler, PathManager

__all__ = ["PathHandler", "PathManager"]
