"""Which images a process evaluates."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.data.samplers import *
else:
    from detectron2.data.samplers import InferenceSampler
