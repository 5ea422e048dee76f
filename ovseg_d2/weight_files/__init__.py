"""Readers of weight files of many formats that execute nothing in the files.

This package imports no other room of the project, and every room may import it.
"""

from .checkpoint import read_checkpoint, read_last_checkpoint
from .errors import WeightFileError
from .methods import describe_method
from .reading import check_plain_pickle, read_metadata, read_weight_file
from .state import below_wrappers, find_weights, first_not_finite, read_state_dict

__all__ = [
    "WeightFileError",
    "below_wrappers",
    "check_plain_pickle",
    "describe_method",
    "find_weights",
    "first_not_finite",
    "read_checkpoint",
    "read_last_checkpoint",
    "read_metadata",
    "read_state_dict",
    "read_weight_file",
]
