"""The systems of the papers: modules built from parts, tensors in and tensors out."""

from ovseg_d2.systems.clip_fine_tune import *
from ovseg_d2.systems.clip_pretrain import *
from ovseg_d2.systems.mask_adapted_clip import *
from ovseg_d2.systems.maskclip import *
from ovseg_d2.systems.maskclip_plus import *
from ovseg_d2.systems.masked_distill_clip import *
from ovseg_d2.systems.masked_distillation import *
from ovseg_d2.systems.masked_language import *
from ovseg_d2.systems.ovseg import *
from ovseg_d2.systems.ovseg_classifier import *
from ovseg_d2.systems.ovseg_maskformer import *
from ovseg_d2.systems.ovseg_proposals import *
from ovseg_d2.systems.pixel_scorer import *
from ovseg_d2.systems.pixelclip import *
from ovseg_d2.systems.pixelclip_inference import *
from ovseg_d2.systems.spreading import *
from ovseg_d2.systems.text_segmenter import *
