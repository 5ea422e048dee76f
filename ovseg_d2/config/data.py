"""Keys of pictures, labels and masks on their way to a model: ``INPUT``."""

from ..d2.config import CfgNode

__all__ = ["add_data_keys"]


def add_data_keys(cfg: CfgNode) -> None:
    """Add them to a config, in place."""
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

    # A box (h, w) in pixels, scaled by a factor drawn from a range: training pictures are resized
    # to fit into it. [] resizes by MIN_SIZE_TRAIN. Read where that is, by the mappers semantic,
    # pictures and masks.
    cfg.INPUT.SCALE_TRAIN = CfgNode()
    cfg.INPUT.SCALE_TRAIN.SIZE = []
    cfg.INPUT.SCALE_TRAIN.RANGE = [0.5, 2.0]

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
