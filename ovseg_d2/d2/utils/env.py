"""Seeding (``detectron2.utils.env``)."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.env import seed_all_rng
else:
    from ..standin.utils.env import seed_all_rng

__all__ = ["seed_all_rng"]
