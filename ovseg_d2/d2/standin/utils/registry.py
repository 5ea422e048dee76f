"""Objects looked up by the name a config gives: fvcore's registry, as in detectron2."""

from fvcore.common.registry import Registry

__all__ = ["Registry"]
