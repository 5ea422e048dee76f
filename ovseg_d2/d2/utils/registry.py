"""Objects looked up by the name a config gives."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.registry import Registry
else:
    from ..standin.utils.registry import Registry

__all__ = ["Registry"]
