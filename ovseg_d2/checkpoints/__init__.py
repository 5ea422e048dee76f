"""Released weights of other projects under the names of this one."""

from .ovseg import convert_ovseg, convert_proposal_head, convert_swin

__all__ = ["convert_ovseg", "convert_proposal_head", "convert_swin"]
