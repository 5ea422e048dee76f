"""Which images a process evaluates."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data.samplers import InferenceSampler
else:
    from ..standin.data.samplers import *
