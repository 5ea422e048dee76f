"""Which images a process loads, and in which order."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data.samplers import InferenceSampler, TrainingSampler
else:
    from ..standin.data.samplers import InferenceSampler, TrainingSampler

__all__ = ["InferenceSampler", "TrainingSampler"]
