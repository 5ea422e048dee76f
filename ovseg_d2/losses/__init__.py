"""Losses of the systems, as functions of tensors."""

from ovseg_d2.losses.contrastive import *
from ovseg_d2.losses.mask_losses import *
from ovseg_d2.losses.masked_bce import *
from ovseg_d2.losses.masked_prediction import *
from ovseg_d2.losses.pixel_cross_entropy import *
from ovseg_d2.losses.set_criterion import *
