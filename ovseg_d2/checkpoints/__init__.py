"""Conversion of weights released by other projects to the names of this project."""

from .ovseg import convert_ovseg, convert_proposal_head, convert_swin

__all__ = ["convert_ovseg", "convert_proposal_head", "convert_swin"]
