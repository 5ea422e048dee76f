"""The door to detectron2: the only package of ovseg_d2 that imports it.

Each module has the name of one of detectron2's modules and lists the names that the plugin uses.
With detectron2 (installed, or a checkout on the path) they are detectron2's objects; without it
they come from :mod:`ovseg_d2.d2.standin`, which behaves the same.
The stand-in's branch comes first, so that type checkers read its annotations.

Without detectron2, your own mapper or trainer can count on the names that these modules import and
on nothing else of detectron2: a mapper is an entry of ``ovseg_d2.data.mappers.TRAIN_MAPPERS`` that
builds on ``data.transforms``, and a trainer derives from ``ovseg_d2.engine.trainer.Trainer``.

The choice is made once, by the spec of the package and not by an import: a broken detectron2 raises
its error instead of being replaced.
"""

from importlib.util import find_spec

__all__ = ["HAS_DETECTRON2"]


def _has_detectron2() -> bool:
    spec = find_spec("detectron2")
    # A bare folder named detectron2 (a namespace package) has no origin and is not the library.
    return spec is not None and spec.origin is not None


HAS_DETECTRON2: bool = _has_detectron2()
