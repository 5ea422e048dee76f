"""Pure tensor functions: no modules, no state, device and dtype from the inputs."""

from ovseg_d2.ops.dense import dense_argmax, upsample_scores
from ovseg_d2.ops.labels import class_shares

__all__ = ["class_shares", "dense_argmax", "upsample_scores"]
