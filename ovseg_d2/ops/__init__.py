"""Pure tensor functions: no modules, no state, device and dtype from the inputs."""

from ovseg_d2.ops.dense import dense_argmax, upsample_scores
from ovseg_d2.ops.labels import class_shares
from ovseg_d2.ops.pooling import pool_masks
from ovseg_d2.ops.synonyms import max_over_words

__all__ = ["class_shares", "dense_argmax", "max_over_words", "pool_masks", "upsample_scores"]
