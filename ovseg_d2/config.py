"""Every config key of the plugin: default, unit, and who reads it.

detectron2's own keys keep their meaning; the few whose defaults change are at the end of
:func:`add_ovseg_config`. Only ``from_config`` methods and the ``build_*`` functions of ``data``,
``evaluation`` and ``engine`` read a config.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

from .d2.config import CfgNode, get_cfg
from .d2.projects.deeplab import add_deeplab_config

__all__ = ["add_ovseg_config", "load_config", "resolve_device"]

# What reading and merging a file or an option raises when they are wrong, on either tier.
_BAD_CONFIG = (
    KeyError,
    AttributeError,
    TypeError,
    ValueError,
    AssertionError,
    RecursionError,
    OSError,
    yaml.YAMLError,
)


def add_ovseg_config(cfg: CfgNode) -> None:
    """Add the plugin's keys to a config of detectron2.

    Args:
        cfg: what ``get_cfg()`` gives; changed in place.
    """
    # Keys of detectron2's DeepLab project: the ResNet with the stem of three convolutions.
    add_deeplab_config(cfg)

    model = cfg.MODEL
    # The CLIP every system stands on. Read by plugin.build.build_tower.
    model.CLIP = CfgNode()
    # A model name of open_clip, a config file of its format, or ShapesCLIP.
    model.CLIP.NAME = "ShapesCLIP"
    # A tag of open_clip, a weight file, "random", or "" for what the name implies.
    model.CLIP.PRETRAINED = ""
    # "auto" takes the activation the weights were trained with; "on", "off" and "text" (in the text
    # tower alone) overrule it.
    model.CLIP.QUICK_GELU = "auto"
    # Statistics of RGB in [0, 1]; [] takes those the weights were trained with.
    model.CLIP.PIXEL_MEAN = []
    model.CLIP.PIXEL_STD = []
    # Epsilon of a ViT's norms; 0 takes the model's own.
    model.CLIP.LAYER_NORM_EPS = 0.0
    # Share in [0, 1) of a picture's patches that training leaves out.
    model.CLIP.PATCH_DROPOUT = 0.0
    # The last block in dense features; see ovseg_d2.clip.LastBlock.
    model.CLIP.LAST_BLOCK = CfgNode()
    model.CLIP.LAST_BLOCK.RESIDUAL = "own"  # own | class_token | none
    model.CLIP.LAST_BLOCK.MLP = True
    # value | full | qq | kk | qq+kk | neighbourhood_kk
    model.CLIP.LAST_BLOCK.ATTENTION = "value"
    model.CLIP.LAST_BLOCK.NEIGHBOURHOOD_STD = 5.0  # patches

    # --- MODEL.TIMM and MODEL.CLIP_BACKBONE: backbones, for heads that bring none. Read by
    # plugin.backbones, where MODEL.BACKBONE.NAME is OVSegTimmBackbone or OVSegCLIPBackbone.
    model.TIMM = CfgNode()
    model.TIMM.NAME = "resnet50"  # a name of timm.list_models(), tag of weights included
    # "" is random, "timm" the weights that timm has for the name, all else a weight file.
    model.TIMM.PRETRAINED = ""
    # timm's numbers of the maps to compute, also from the end; [] is timm's own choice.
    model.TIMM.OUT_INDICES = []
    # Names of the maps to give: res2 (or p2) for a stride of 4, res3 for 8; [] gives all.
    model.TIMM.OUT_FEATURES = []
    model.TIMM.IN_CHANNELS = 0  # of the images; 0 takes the length of MODEL.PIXEL_MEAN
    # Pixels, what images are padded to a multiple of; 0 is what the network needs.
    model.TIMM.SIZE_DIVISIBILITY = 0
    # Pixels from location to location of the coarsest map, 8, 16 or 32: later stages are dilated
    # instead of halved, in networks that can; 0 leaves them as they are.
    model.TIMM.OUTPUT_STRIDE = 0
    # Swin as detectors have it, which released weights are of: see ovseg_d2.nets.SwinFeatures. All
    # its maps are computed; and how often its last block is passed over in training.
    model.TIMM.DETECTOR_SWIN = False
    model.TIMM.DROP_PATH = 0.0
    model.TIMM.FROZEN = False  # nothing is trained, batch statistics included
    # MODEL.CLIP's tower: res2 to res5 or, of a ViT, clip_tokens; and clip_dense. [] gives all.
    model.CLIP_BACKBONE = CfgNode()
    model.CLIP_BACKBONE.OUT_FEATURES = []
    model.CLIP_BACKBONE.FROZEN = False
    # --- end of the backbones

    # Words into embeddings. Read by plugin.build.build_text_bank and plugin.base.
    model.TEXT = CfgNode()
    # One name of a template set, or templates that hold one {} each.
    model.TEXT.TEMPLATES = ["single"]
    model.TEXT.SYNONYMS = "mean"  # mean | joined | max
    # A word list of ovseg_d2.vocab ("voc21_sclip") or a text file, in place of the words that test
    # datasets have for their classes, in the same order; "" keeps theirs.
    model.TEXT.WORD_LIST = ""
    # The vocabulary where neither the input, set_vocabulary nor the dataset gives one.
    model.TEXT.CLASSES = []
    model.TEXT.CACHE_DIR = ""  # "" keeps embeddings in memory only
    model.TEXT.BATCH_SIZE = 256  # prompts encoded at once

    # MaskCLIP's options. Read by plugin.maskclip.
    model.MASKCLIP = CfgNode()
    # Classes nowhere at least this probable leave a picture, 0.5 in the paper; 0 keeps all.
    model.MASKCLIP.PROMPT_DENOISING = 0.0
    # Patches less sure than this are scored by all patches with similar keys, 1.0 in the paper;
    # 0 leaves all as they are.
    model.MASKCLIP.KEY_SMOOTHING = 0.0
    # Pixels of which no class is at least this probable are background; 0 finds none.
    model.MASKCLIP.BACKGROUND_THRESHOLD = 0.0
    # Classes that win no more than this share of the foreground become background; 0 keeps all.
    model.MASKCLIP.BACKGROUND_MIN_SHARE = 0.0
    model.MASKCLIP.WINDOW = 0  # pixels of a sliding window's side; 0 sees pictures as a whole
    model.MASKCLIP.STRIDE = 0  # pixels from window to window; 0 is half a window
    # Factor of the cosines before any softmax; 0 is the tower's own.
    model.MASKCLIP.LOGIT_SCALE = 0.0
    # The release's geometry, refinement and keys where they differ from the paper or from CLIP.
    model.MASKCLIP.OFFICIAL = False

    # Contrastive training. Read by plugin.clip_pretrain.
    model.CLIP_PRETRAIN = CfgNode()
    model.CLIP_PRETRAIN.MAX_LOGIT_SCALE = 100.0
    # Share of each batch read as what the last block's attention gathers, a ViT's class token left
    # out; see ovseg_d2.systems.CLIPPretrain.
    model.CLIP_PRETRAIN.ATTENTION_ONLY = 0.0

    # --- MODEL.MASKED_DISTILL: guesses of hidden patches and words, beside contrastive training by
    # MODEL.CLIP_PRETRAIN. Read by plugin.masked_distill_clip.
    model.MASKED_DISTILL = CfgNode()
    model.MASKED_DISTILL.WEIGHT = 0.05  # of the distillation's loss; 0 does without it
    # What is guessed of hidden patches: teacher (features of the moving average) | student (its own
    # features) | pixels.
    model.MASKED_DISTILL.TARGET = "teacher"
    model.MASKED_DISTILL.MASK_RATIO = 0.75  # share of the patches that is hidden
    model.MASKED_DISTILL.MOMENTUM = 0.999  # of the teacher
    model.MASKED_DISTILL.DECODER_LAYERS = 1
    model.MASKED_DISTILL.DECODER_HEADS = 0  # 0 is as many as the image half has
    # The online tokenizer: how many codes, the width of its hidden layer (0: none) and of the space
    # that codes lie in.
    model.MASKED_DISTILL.NUM_CODES = 8192
    model.MASKED_DISTILL.HIDDEN_DIM = 2048
    model.MASKED_DISTILL.CODE_DIM = 256
    model.MASKED_DISTILL.STUDENT_TEMPERATURE = 0.1
    model.MASKED_DISTILL.TEACHER_TEMPERATURE = 0.04
    # Of the running mean that is subtracted from the teacher's codes.
    model.MASKED_DISTILL.CENTER_MOMENTUM = 0.9
    # Masked words of captions.
    model.MASKED_DISTILL.LANGUAGE = CfgNode()
    model.MASKED_DISTILL.LANGUAGE.WEIGHT = 0.0  # 0.05 in the paper; 0 does without them
    model.MASKED_DISTILL.LANGUAGE.MASK_RATIO = 0.2  # share of the words
    # Shares of these that become the mask's vector, and another word.
    model.MASKED_DISTILL.LANGUAGE.REPLACE = [0.8, 0.1]
    model.MASKED_DISTILL.LANGUAGE.DECODER_LAYERS = 4
    model.MASKED_DISTILL.LANGUAGE.DECODER_HEADS = 0  # 0 is as many as the text half has
    # --- end of masked self-distillation

    # --- MODEL.MASK_ADAPTED_CLIP: CLIP learns to name masked crops. Read by
    # plugin.mask_adapted_clip and, when pairs are mined, by engine.mine_pairs.
    model.MASK_ADAPTED_CLIP = CfgNode()
    model.MASK_ADAPTED_CLIP.TRAIN = "prompts"  # prompts | image | both
    model.MASK_ADAPTED_CLIP.PROMPT_DEPTH = 3  # blocks that mask prompts enter; 0 does without
    # Around nouns in training, as in MODEL.TEXT.TEMPLATES; [] takes those.
    model.MASK_ADAPTED_CLIP.TEMPLATES = []
    model.MASK_ADAPTED_CLIP.FILL = "mean"  # what the background becomes: mean | zero | none
    model.MASK_ADAPTED_CLIP.MAX_LOGIT_SCALE = 100.0  # of the learnt factor of the cosines
    # The release's loss: what shares a noun counts as each other's negatives.
    model.MASK_ADAPTED_CLIP.OFFICIAL = False
    # --- end of MaskAdaptedCLIP

    # --- MODEL.PIXELCLIP: unlabelled masks teach the image encoder. Read by plugin.pixelclip and
    # plugin.pixelclip_head, where MODEL.SEM_SEG_HEAD.NAME is OVSegPixelCLIPClusterHead; the last
    # block is MODEL.CLIP's, and pictures of a training are drawn every VIS_PERIOD iterations.
    model.PIXELCLIP = CfgNode()
    # What masks are gathered by: learnable prompts | fixed class names | vectors of their own,
    # without the text encoder | none, each mask is its own target.
    model.PIXELCLIP.CLUSTERING = "prompts"
    model.PIXELCLIP.CLUSTERS = 64  # k; of "names" there are as many as names
    model.PIXELCLIP.LEARNABLE = True  # False leaves prompts or vectors as they were drawn
    model.PIXELCLIP.PROMPT_LENGTH = 4  # l, tokens of a prompt
    # Words whose tokens prompts are drawn from at first; [] draws from all tokens there are.
    model.PIXELCLIP.PROMPT_WORDS = []
    # Around prompts and names: one name of a template set, or templates that hold one {} each, all
    # of which are used; ["bare"] is the prompt alone.
    model.PIXELCLIP.TEMPLATES = ["pixelclip_single"]
    # The names of "names", or one word list of ovseg_d2.vocab.
    model.PIXELCLIP.CLASS_NAMES = []
    model.PIXELCLIP.MOMENTUM = 0.999  # of the teacher; 0 does without one
    model.PIXELCLIP.EPSILON = 0.01  # what cosines are divided by; 1.0 in the paper for a ConvNeXt
    model.PIXELCLIP.SINKHORN_ITERS = 3
    # Masks of earlier batches that share in the balance; 0 for none, as in the paper, where a batch
    # has thousands of masks. A few masks for each cluster spread masks of one class over many.
    model.PIXELCLIP.QUEUE = 0
    model.PIXELCLIP.MASK_SIZE = [256, 256]  # pixels (h, w) of masks and of the decoder's answer
    # Pixels (h, w) that pictures are encoded at, [320, 320] in the paper for a ViT; [] leaves them
    # as the mapper gives them.
    model.PIXELCLIP.IMAGE_SIZE = []
    # attention | conv | full | none; see ovseg_d2.clip.set_trainable
    model.PIXELCLIP.TRAINABLE = "attention"
    # Of the decoder, at twice and at four times the resolution of the features.
    model.PIXELCLIP.DECODER_CHANNELS = [64, 32]
    # The release's start of Sinkhorn's iterations and its inference.
    model.PIXELCLIP.OFFICIAL = False
    # --- end of PixelCLIP

    # --- MODEL.DENSE_HEAD, .MASKCLIP_PLUS and .FINE_TUNE: networks with text for a classifier. Read
    # by plugin.dense_head, plugin.maskclip_plus and plugin.clip_fine_tune. Of detectron2's keys,
    # MODEL.BACKBONE.NAME names the backbone and MODEL.SEM_SEG_HEAD describes the head: NAME is
    # OVSegDeepLabV2Head, OVSegDeepLabV3PlusHead, OVSegPSPHead or OVSegNoHead, IN_FEATURES ends in
    # the map it stands on (of DeepLabv3+, a finer one comes first), NORM, IGNORE_VALUE and
    # LOSS_WEIGHT are what they are elsewhere. Heads are as wide as the joint embedding.
    model.DENSE_HEAD = CfgNode()
    # Locations, one for each branch of a DeepLab; 1 is a convolution of 1x1.
    model.DENSE_HEAD.DILATIONS = [6, 12, 18, 24]
    model.DENSE_HEAD.LOW_CHANNELS = 48  # of DeepLabv3+'s finer map
    model.DENSE_HEAD.SEPARABLE = True  # DeepLabv3+'s convolutions are depthwise
    model.DENSE_HEAD.POOL_SCALES = [1, 2, 3, 6]  # sides of PSPNet's grids

    # MaskCLIP+. The teacher is MODEL.CLIP's tower with MODEL.MASKCLIP's refinement.
    model.MASKCLIP_PLUS = CfgNode()
    # annotation_free | zero_shot, in which INPUT.SEMANTIC.UNSEEN says what has no labels
    model.MASKCLIP_PLUS.SETTING = "annotation_free"
    # The student's own labels in place of the teacher's: auto (where zero_shot) | on | off
    model.MASKCLIP_PLUS.SELF_TRAINING = "auto"
    model.MASKCLIP_PLUS.SELF_TRAINING_START = 0.1  # share of SOLVER.MAX_ITER that goes before
    # Pseudo-labels less probable than this are not trained on; 0 trusts all.
    model.MASKCLIP_PLUS.CONFIDENCE = 0.0
    # What the student learns of the teacher: labels | features, its embedding of each location
    model.MASKCLIP_PLUS.TARGET = "labels"
    model.MASKCLIP_PLUS.FEATURE_WEIGHT = 1.0  # of the loss of features
    # Factor of the student's cosines; 0 compares its features at their own length, as published.
    model.MASKCLIP_PLUS.LOGIT_SCALE = 0.0
    # A learnt vector in place of the text of the vocabulary's background classes.
    model.MASKCLIP_PLUS.LEARN_BACKGROUND = False
    # The release's loss, divided by all pixels, ignored ones too.
    model.MASKCLIP_PLUS.OFFICIAL = False

    # The fine-tuning that MaskCLIP+ argues against. Whether the encoder is trained says its
    # backbone's FROZEN: MODEL.CLIP_BACKBONE.FROZEN or MODEL.TIMM.FROZEN.
    model.FINE_TUNE = CfgNode()
    # From text embeddings to the classifier's weights: none | linear | mlp
    model.FINE_TUNE.MAPPER = "none"
    # Factor of the cosines; 0 compares features at their own length.
    model.FINE_TUNE.LOGIT_SCALE = 0.0
    # --- end of networks with text for a classifier

    # --- MODEL.OVSEG: masks of a MaskFormer or of somebody else, named by their maker and by CLIP.
    # Read by plugin.ovseg, plugin.ovseg_maskformer and plugin.ovseg_head. Images are normalised by
    # the backbone's own statistics, or by MODEL.PIXEL_MEAN and _STD, in the order of INPUT.FORMAT,
    # where it has none.
    model.OVSEG = CfgNode()
    # Whose masks: maskformer | sam | felzenszwalb | dino | stored, of INPUT.MASKS.FOLDER. The last
    # four know no classes, so that CLIP alone names them; the options are INPUT.MASKS'.
    model.OVSEG.PROPOSALS = "maskformer"
    model.OVSEG.SAM_CHECKPOINT = ""  # a file of SAM's authors, for "sam"
    # lambda in [0, 1]: 0 is what the proposals say alone, 1 is what CLIP says.
    model.OVSEG.LAMBDA = 0.7
    # Of the classes that training has not seen, by DATASETS.TRAIN and INPUT.SEMANTIC.UNSEEN; a
    # negative number: the same.
    model.OVSEG.UNSEEN_LAMBDA = -1.0
    # For one or a few words: CLIP alone, binary masks, of each word the best, and "others".
    model.OVSEG.DEMO = False
    model.OVSEG.OFFICIAL = False  # the release's reading of lambda 0: CLIP alone
    # A checkpoint of MaskAdaptedCLIP or of a CLIP; its image half and, if it has some, mask prompts
    # take the place of MODEL.CLIP's, whatever MODEL.WEIGHTS holds. "" keeps MODEL.CLIP.
    model.OVSEG.CLIP_WEIGHTS = ""
    # Blocks that mask prompts enter; with CLIP_WEIGHTS it is the file's.
    model.OVSEG.PROMPT_DEPTH = 0
    model.OVSEG.CROP = CfgNode()  # see ovseg_d2.ops.CropOptions
    model.OVSEG.CROP.THRESHOLD = 0.4
    model.OVSEG.CROP.EXPAND_RATIO = 1.0
    model.OVSEG.CROP.FILL = "mean"  # what the background becomes: mean | zero | none, it stays
    model.OVSEG.CROP.MATTING = False
    model.OVSEG.CROP.BATCH_SIZE = 32  # crops encoded at once
    # The MaskFormer, where MODEL.SEM_SEG_HEAD.NAME is OVSegMaskFormerHead.
    model.OVSEG.MASKFORMER = CfgNode()
    model.OVSEG.MASKFORMER.IN_FEATURES = []  # names of the backbone's maps; [] takes all it gives
    model.OVSEG.MASKFORMER.QUERIES = 100
    model.OVSEG.MASKFORMER.CONV_CHANNELS = 256  # of the pixel decoder, a multiple of 32
    model.OVSEG.MASKFORMER.MASK_CHANNELS = 256
    model.OVSEG.MASKFORMER.DIM = 256  # of the transformer
    model.OVSEG.MASKFORMER.LAYERS = 6  # of the transformer's decoder
    model.OVSEG.MASKFORMER.ENCODER_LAYERS = 0  # of a transformer encoder on the coarsest map
    model.OVSEG.MASKFORMER.HEADS = 8
    model.OVSEG.MASKFORMER.HIDDEN_DIM = 2048  # of feed-forward blocks
    model.OVSEG.MASKFORMER.EMBED_HIDDEN_DIM = 1024  # of the network behind proposal embeddings
    model.OVSEG.MASKFORMER.DROPOUT = 0.1
    model.OVSEG.MASKFORMER.LOGIT_SCALE = 100.0  # of the cosines with texts, whatever CLIP's own
    # Pixels that images are padded to a multiple of, beside what the backbone needs.
    model.OVSEG.MASKFORMER.SIZE_DIVISIBILITY = 32
    model.OVSEG.MASKFORMER.DEEP_SUPERVISION = True
    # Weights of the losses; those of classes and masks are the matcher's too.
    model.OVSEG.MASKFORMER.CLASS_WEIGHT = 1.0
    model.OVSEG.MASKFORMER.MASK_WEIGHT = 20.0
    model.OVSEG.MASKFORMER.DICE_WEIGHT = 1.0
    model.OVSEG.MASKFORMER.NO_OBJECT_WEIGHT = 0.1
    # Leave pixels without a class out of mask losses and matching: what lies there, unseen classes
    # above all, may belong to a mask. False takes them for outside of all, as the release does.
    model.OVSEG.MASKFORMER.LEAVE_OUT_IGNORED = True
    # --- end of OVSeg

    # Which mapper makes training samples of dataset dicts; see data.mappers.TRAIN_MAPPERS.
    cfg.INPUT.TRAIN_MAPPER = "captions"
    # Captions each training picture brings to a step. Read by the caption mapper.
    cfg.INPUT.CAPTIONS_PER_IMAGE = 1
    # Wrong captions made of each, one word changed; pictures of the Shapes world only. Read by the
    # caption mapper.
    cfg.INPUT.NEGATIVES_PER_CAPTION = 0

    # Crops of mask-category pairs. Read by the pair mapper; DATASETS.TRAIN names files of pairs
    # that tools/mine_pairs.py has made.
    cfg.INPUT.PAIRS = CfgNode()
    cfg.INPUT.PAIRS.EXPAND_RATIO = 1.0  # by what the tight box of a mask is scaled, at least 1
    # Least and greatest share of a crop's area that is seen; 1, 1 is all of it.
    cfg.INPUT.PAIRS.PART_AREA = [0.9, 1.0]
    # What the mapper semantic leaves of labels. Read by it and by the models it feeds.
    cfg.INPUT.SEMANTIC = CfgNode()
    # Classes, or class sets of the training dataset ("unseen"; "novel"), whose labels are hidden.
    cfg.INPUT.SEMANTIC.UNSEEN = []
    # Hide all classes and keep what the dataset ignores: MaskCLIP+'s official annotation-free way.
    cfg.INPUT.SEMANTIC.ONLY_IGNORED = False
    # Distort colours as SSD does. Read by the mapper pictures, too.
    cfg.INPUT.SEMANTIC.DISTORT = True
    # Largest share of a crop that one class may take, where another place can be found; 1 takes any
    # crop, and all else needs labels. Read by the mapper semantic.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0

    # A part of each picture with captions, drawn at random. Read by the caption mapper.
    cfg.INPUT.CAPTION_CROP = CfgNode()
    cfg.INPUT.CAPTION_CROP.SIZE = []  # pixels (h, w) it is resized to; [] leaves pictures whole
    cfg.INPUT.CAPTION_CROP.AREA = [0.5, 1.0]  # least and greatest share of the picture

    # Unlabelled masks, and the two views that PixelCLIP trains on. Read by the mask mapper, which
    # resizes, crops and flips by detectron2's own keys.
    cfg.INPUT.MASKS_PER_IMAGE = 0  # at most, drawn at random; 0 takes all
    cfg.INPUT.MASKS = CfgNode()
    # shapes (exact regions) | stored | felzenszwalb | dino
    cfg.INPUT.MASKS.SOURCE = "shapes"
    # Of files that tools/generate_masks.py has made; "" reads those that the dataset names.
    cfg.INPUT.MASKS.FOLDER = ""
    # Memory for masks made in training, MiB a process; 0 makes them anew each time.
    cfg.INPUT.MASKS.CACHE_MB = 512
    cfg.INPUT.MASKS.FELZENSZWALB = CfgNode()
    cfg.INPUT.MASKS.FELZENSZWALB.SCALE = 400.0  # larger makes larger masks
    cfg.INPUT.MASKS.FELZENSZWALB.SIGMA = 0.8  # pixels
    cfg.INPUT.MASKS.FELZENSZWALB.MIN_SIZE = 50  # pixels of the smallest mask
    # K-means over a picture's patches, on the CPU.
    cfg.INPUT.MASKS.DINO = CfgNode()
    cfg.INPUT.MASKS.DINO.MODEL = "vit_small_patch16_224.dino"  # a ViT of timm
    # A file; "" takes timm's, which are downloaded the first time; "random" is for trials.
    cfg.INPUT.MASKS.DINO.WEIGHTS = ""
    cfg.INPUT.MASKS.DINO.NUM_CLUSTERS = 16
    # Pixels that the shorter side is resized to before; 0 keeps the picture's size.
    cfg.INPUT.MASKS.DINO.SIZE = 0
    cfg.INPUT.VIEWS = CfgNode()
    cfg.INPUT.VIEWS.DISTORT_WEAK = True  # colours of both views as SSD does
    # The student's view alone. Changes of brightness, contrast, saturation and hue, and how often.
    cfg.INPUT.VIEWS.JITTER = [0.5, 0.5, 0.5, 0.25]
    cfg.INPUT.VIEWS.JITTER_PROB = 0.8
    cfg.INPUT.VIEWS.GREY_PROB = 0.2
    cfg.INPUT.VIEWS.BLUR_PROB = 0.5
    cfg.INPUT.VIEWS.BLUR_SIGMA = [0.1, 2.0]  # pixels, least and greatest
    cfg.INPUT.VIEWS.CUTOUT = [0.1, 0.5]  # sides of the box, shares of the picture's; 0, 0 is none

    # A corruption of every picture that is evaluated, "" or a name of data.corruptions, and its
    # level from 1 to 5. Read by data.mappers.TestMapper.
    cfg.INPUT.CORRUPTION = CfgNode()
    cfg.INPUT.CORRUPTION.NAME = ""
    cfg.INPUT.CORRUPTION.LEVEL = 3

    # Read by engine.optimizer and engine.schedule.
    cfg.SOLVER.OPTIMIZER = "ADAMW"  # ADAMW | SGD
    cfg.SOLVER.BETAS = [0.9, 0.98]
    cfg.SOLVER.EPS = 1e-8
    # Weight decay of vectors, scalars, norms and embeddings, whatever they belong to; it takes the
    # place of detectron2's WEIGHT_DECAY_NORM and WEIGHT_DECAY_BIAS.
    cfg.SOLVER.WEIGHT_DECAY_VECTORS = 0.0
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_FLOOR = 0.0  # share of BASE_LR at which WarmupPolyLR ends
    # Pairs of a module's or parameter's name and what the learning rate below it is multiplied by,
    # such as ["system.decoder", 10.0]; of several that fit, the longest name counts.
    cfg.SOLVER.LR_MULTIPLIERS = []
    # Largest norm of all gradients together; 0 leaves them as they are. (detectron2's own
    # CLIP_GRADIENTS knows single parameters only, and works beside it.)
    cfg.SOLVER.MAX_GRAD_NORM = 0.0

    # What is evaluated: segmentation, or mask_crops, the classes of the truth's masks. Read by
    # engine.evaluate and data.loaders.
    cfg.TEST.TASK = "segmentation"
    # Read by engine.evaluate: also evaluate with each image's own words, that is with the classes
    # that its labels hold.
    cfg.TEST.OWN_WORDS = False
    # Weight of the squared norm in the regression of linear probes; of 0.0001 to 0.3 the best for
    # ShapesCLIP on dev. Read by engine.evaluate.
    cfg.TEST.PROBE_PENALTY = 0.1
    # Evaluate a ceiling in place of the model: "" | patch | gt_masks, the truth's masks with the
    # model's names | gt_labels, OVSeg's masks with the truth's names. Read by engine.evaluate.
    cfg.TEST.CEILING = ""
    # Evaluate OVSeg at these lambdas too, in one pass. Read by engine.evaluate.
    cfg.TEST.LAMBDAS = []
    # Evaluations use the first so many images of each dataset; 0 is all of them. Read by
    # data.loaders.
    cfg.TEST.MAX_IMAGES = 0

    # Defaults of detectron2 that differ here.
    cfg.SEED = 0  # every run can be repeated
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.META_ARCHITECTURE = "MaskCLIP"
    cfg.INPUT.MIN_SIZE_TEST = 0  # pixels of the shorter side; 0 keeps the picture's size
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False  # grouping makes batches depend on the workers
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.DEVICE = resolve_device("auto")


def resolve_device(name: str) -> str:
    """``auto`` becomes ``cuda`` where there is one and ``cpu`` elsewhere; all else stays.

    Raises:
        ValueError: no name of a device.
    """
    if isinstance(name, str) and name.lower() == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(name if isinstance(name, str) else "")
    except RuntimeError as error:
        raise ValueError(
            f"MODEL.DEVICE {name!r} is no device; write auto, cpu, cuda or cuda:N"
        ) from error
    return name


def load_config(config_file: str | Path | None = None, opts: Sequence[str] = ()) -> CfgNode:
    """Build the config of a run: defaults, a file, then single keys.

    Args:
        config_file: YAML file, possibly with ``_BASE_``; None stays with the defaults, which are
            MaskCLIP on ShapesCLIP.
        opts: keys and values in turn, as on a command line: ``["SOLVER.MAX_ITER", "20"]``.

    Files are read without the YAML tags that run code, which detectron2 itself would follow.

    Returns:
        The config, not frozen, its device resolved.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a file that cannot be read, an unknown key, a value of the wrong type, no
            device, or keys without values.
    """
    cfg = get_cfg()
    add_ovseg_config(cfg)
    if config_file is not None:
        if not Path(config_file).is_file():
            raise FileNotFoundError(
                f"config file {str(config_file)!r} does not exist; the project's are in configs/"
            )
        try:
            cfg.merge_from_file(str(config_file), allow_unsafe=False)
        except _BAD_CONFIG as error:
            raise ValueError(f"config file {str(config_file)!r}: {_reason(error)}") from error
    if len(opts) % 2:
        raise ValueError(
            f"the options {list(opts)!r} are {len(opts)} words; give keys and values in turn, "
            "for instance SOLVER.MAX_ITER 100"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        try:
            cfg.merge_from_list([key, value])
        except _BAD_CONFIG as error:
            raise ValueError(f"option {key} {value}: {_reason(error)}") from error
    cfg.MODEL.DEVICE = resolve_device(cfg.MODEL.DEVICE)
    return cfg


_MISMATCH = re.compile(
    r"Type mismatch \(<class '(?:.*\.)?(\w+)'> vs\. <class '(?:.*\.)?(\w+)'>\)"
    r" with values \(.* vs\. (.*)\) for config key: (\S+)",
    re.DOTALL,
)
_EXAMPLES = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number with a point, such as 1.0",
    "str": "text; quote what looks like a number",
    "list": "a list, such as ['red star', 'grass']",
    "tuple": "a list, such as ('ovseg_shapes_val',)",
    "CfgNode": "keys of its own, and no value",
}


def _reason(error: Exception) -> str:
    """One sentence of what is wrong and what to do."""
    if isinstance(error, RecursionError):
        return "its _BASE_ leads back to the file itself; name another one"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}; correct its _BASE_ or the file's permissions"
    if isinstance(error, TypeError | AttributeError):
        return "keys and values are not where they should be; compare it with configs/"
    text = str(error.args[0] if len(error.args) == 1 else error)
    mismatch = _MISMATCH.search(text)
    if mismatch:
        expected, found, value, key = mismatch.groups()
        value = repr(value) if found == "str" else value
        return f"{key} is {value}, of type {found}; it takes {_EXAMPLES.get(expected, expected)}"
    if "on-existent" in text:
        text += "; ovseg_d2/config.py lists the plugin's keys, detectron2's defaults the others"
    return " ".join(text.split())
