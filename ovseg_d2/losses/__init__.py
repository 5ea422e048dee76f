"""Losses of the systems, as functions of tensors."""

from .contrastive import contrastive_loss, gather_with_grad
from .mask_losses import dice_loss, focal_loss, pairwise_dice_loss, pairwise_focal_loss
from .masked_bce import masked_bce_loss
from .masked_prediction import check_temperature, pixel_loss, soft_code_loss, soft_codes
from .pixel_cross_entropy import pixel_cross_entropy_loss
from .set_criterion import Match, Matcher, SetCriterion

__all__ = [
    "Match",
    "Matcher",
    "SetCriterion",
    "check_temperature",
    "contrastive_loss",
    "dice_loss",
    "focal_loss",
    "gather_with_grad",
    "masked_bce_loss",
    "pairwise_dice_loss",
    "pairwise_focal_loss",
    "pixel_cross_entropy_loss",
    "pixel_loss",
    "soft_code_loss",
    "soft_codes",
]
