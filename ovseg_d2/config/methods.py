"""Keys of each method: ``MODEL.MASKCLIP``, ``MODEL.PIXELCLIP`` and so on."""

from ..d2.config import CfgNode

__all__ = ["add_method_keys"]


def add_method_keys(model: CfgNode) -> None:
    """Add them to ``cfg.MODEL``, in place."""
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
