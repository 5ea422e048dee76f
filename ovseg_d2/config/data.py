"""Keys of the data that models read, images, labels and masks: ``INPUT``."""

from .keys import Key, below
from .values import (
    either,
    empty,
    flag,
    list_of,
    name,
    number,
    one_of,
    share,
    size,
    span,
    text,
    whole,
)

__all__ = ["DATA_KEYS"]

_SHARES = span(number(above=0, most=1))

_TRAINING = below(
    "INPUT",
    {
        # See data.mappers.TRAIN_MAPPERS.
        "TRAIN_MAPPER": Key(
            "captions", name(), "the mapper that makes training samples of dataset dicts"
        ),
        # Read by the caption mapper.
        "CAPTIONS_PER_IMAGE": Key(
            1, whole(1, 10_000), "captions that each training image brings to a step"
        ),
        "NEGATIVES_PER_CAPTION": Key(
            0,
            whole(0, 10_000),
            "wrong captions made of each, one word changed; images of the Shapes world only",
        ),
        "CAPTION_CROP.SIZE": Key(
            [],
            either(size(), empty()),
            "pixels that a part of each image with captions, drawn at random, is resized to; [] "
            "leaves images whole, and a tower resizes those that differ in size or are larger than "
            "its own",
        ),
        "CAPTION_CROP.AREA": Key(
            [0.5, 1.0], _SHARES, "least and greatest share of the image that this part is"
        ),
        # Crops of the mask-category pairs that tools/mine_pairs.py writes, in files that
        # DATASETS.TRAIN names. Read by the pair mapper.
        "PAIRS.EXPAND_RATIO": Key(
            1.0, number(1, 1000), "factor by which the tight box of a mask is scaled"
        ),
        "PAIRS.PART_AREA": Key(
            [0.9, 1.0],
            _SHARES,
            "least and greatest share of a crop's area that is seen; 1, 1 is all of it",
        ),
        # Read by the mapper semantic and by the models that train on its labels.
        "SEMANTIC.UNSEEN": Key(
            [],
            list_of(name()),
            "classes, or class sets of the training dataset ('unseen', 'novel'), whose labels are "
            "hidden; names of class sets hide nothing of a dataset without any",
        ),
        "SEMANTIC.ONLY_IGNORED": Key(
            False,
            flag(),
            "whether all classes are hidden and what the dataset ignores is kept: MaskCLIP+'s "
            "official annotation-free way",
        ),
        # Read by the mapper pictures too.
        "SEMANTIC.DISTORT": Key(True, flag(), "whether colours are distorted as SSD does"),
        # Read by the mapper semantic.
        "CROP.SINGLE_CATEGORY_MAX_AREA": Key(
            1.0,
            number(above=0, most=1),
            "largest share of a crop that one class may take, where another place can be found; 1 "
            "takes any crop, and anything else needs labels",
        ),
        # Read by the mappers semantic, pictures and masks, like MIN_SIZE_TRAIN.
        "SCALE_TRAIN.SIZE": Key(
            [],
            either(size(), empty()),
            "a box in pixels, scaled by a factor drawn from SCALE_TRAIN.RANGE, that training "
            "images are resized to fit into; [] resizes by MIN_SIZE_TRAIN",
        ),
        "SCALE_TRAIN.RANGE": Key(
            [0.5, 2.0],
            span(number(above=0, most=100)),
            "least and greatest factor of SCALE_TRAIN.SIZE",
        ),
    },
)

# Unlabelled masks, and the two views that PixelCLIP trains on. Read by the mask mapper, which
# resizes, crops and flips as detectron2's own keys set.
_MASKS = below(
    "INPUT",
    {
        "MASKS_PER_IMAGE": Key(
            0, whole(0), "masks of an image at most, drawn at random; 0 takes all"
        ),
        "MASKS.SOURCE": Key(
            "shapes",
            one_of("shapes", "stored", "felzenszwalb", "dino"),
            "whose masks; 'shapes' are exact regions, and of other images the masks that the "
            "dataset names, or felzenszwalb's",
        ),
        "MASKS.FOLDER": Key(
            "",
            text(),
            "folder of files that tools/generate_masks.py has made; '' reads those that the "
            "dataset names",
        ),
        "MASKS.CACHE_MB": Key(
            512,
            whole(0, 2**20),
            "memory for masks made in training, MiB a process; 0 makes them anew each time",
        ),
        "MASKS.FELZENSZWALB.SCALE": Key(
            400.0, number(above=0, most=1_000_000), "larger makes larger masks"
        ),
        "MASKS.FELZENSZWALB.SIGMA": Key(
            0.8, number(0, 100), "standard deviation of the smoothing before, in pixels"
        ),
        "MASKS.FELZENSZWALB.MIN_SIZE": Key(50, whole(0), "pixels of the smallest mask"),
        # K-means over an image's patches, on the CPU.
        "MASKS.DINO.MODEL": Key("vit_small_patch16_224.dino", name(), "a ViT of timm"),
        "MASKS.DINO.WEIGHTS": Key(
            "",
            text(),
            "a weight file or a folder with one; '' takes timm's, which are downloaded the first "
            "time; 'random' is for trials",
        ),
        "MASKS.DINO.NUM_CLUSTERS": Key(16, whole(1, 4096), "masks of an image at most"),
        "MASKS.DINO.SIZE": Key(
            0,
            whole(0, 16384),
            "pixels that the shorter side is resized to before; 0 keeps the image's size",
        ),
        "VIEWS.DISTORT_WEAK": Key(
            True, flag(), "whether the colours of both views are distorted as SSD does"
        ),
        # Of the student's view alone.
        "VIEWS.JITTER": Key(
            [0.5, 0.5, 0.5, 0.25],
            list_of(share(), 4),
            "largest changes of brightness, contrast and saturation, as shares, and of hue, in "
            "turns, at most 0.5",
        ),
        "VIEWS.JITTER_PROB": Key(0.8, share(), "how often colours are jittered"),
        "VIEWS.GREY_PROB": Key(0.2, share(), "how often images become grey"),
        "VIEWS.BLUR_PROB": Key(0.5, share(), "how often images are blurred"),
        "VIEWS.BLUR_SIGMA": Key(
            [0.1, 2.0],
            span(number(0, 100)),
            "least and greatest standard deviation of the blur, in pixels",
        ),
        "VIEWS.CUTOUT": Key(
            [0.1, 0.5],
            span(share()),
            "least and greatest side of the box that is cut out, as shares of the image's; 0, 0 "
            "is none",
        ),
    },
)

# Read by data.mappers.TestMapper.
_TEST = below(
    "INPUT",
    {
        "RESIZE_TEST": Key(
            "pillow",
            one_of("pillow", "opencv"),
            "the library whose bilinear resizing test images have: Pillow's averages the pixels "
            "that shrink into one, as detectron2; OpenCV's reads four of them, as MMSegmentation",
        ),
    },
)

# A corruption of every evaluated image. Read by data.mappers.TestMapper.
_CORRUPTION = below(
    "INPUT.CORRUPTION",
    {
        "NAME": Key("", text(), "a name of data.corruptions, or '' for none"),
        "LEVEL": Key(3, whole(1, 5), "how strong the corruption is"),
        "FIXED_LENGTHS": Key(
            False,
            flag(),
            "whether blurs and drops have the paper's pixels at any size, as in published tables, "
            "in place of a share of the shorter side",
        ),
    },
)

DATA_KEYS = _TRAINING | _MASKS | _TEST | _CORRUPTION
