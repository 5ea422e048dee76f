"""Keys of what all systems share: the CLIP, backbones, words."""

from ..d2.config import CfgNode

__all__ = ["add_clip_keys"]


def add_clip_keys(model: CfgNode) -> None:
    """Add them to ``cfg.MODEL``, in place."""
    # The CLIP every system stands on. Read by plugin.build.build_tower.
    model.CLIP = CfgNode()
    # A model name of open_clip, a config file of its format, or ShapesCLIP.
    model.CLIP.NAME = "ShapesCLIP"
    # A tag of open_clip, a weight file, "random", or "" for what the name implies: the weights of
    # ShapesCLIP, or of another model those that MODEL.WEIGHTS brings.
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
    # "" leaves batch norms as they are, "SyncBN" lets all processes share their statistics.
    model.TIMM.NORM = ""
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
