"""Keys of OVSeg: masks of a MaskFormer or of another source, classified by it and by CLIP.

plugin.ovseg, plugin.ovseg_maskformer and plugin.ovseg_head read them. Images are normalised by the
backbone's own statistics; for a backbone without any by MODEL.PIXEL_MEAN and _STD, in the order of
INPUT.FORMAT.
"""

from .keys import Key, below
from .values import either, flag, list_of, name, number, one_of, share, text, whole

__all__ = ["OVSEG_KEYS"]

_WEIGHT = number(0, 1_000_000)

_OVSEG = below(
    "MODEL.OVSEG",
    {
        "PROPOSALS": Key(
            "maskformer",
            one_of("maskformer", "sam", "felzenszwalb", "dino", "stored"),
            "whose masks; 'stored' are those of INPUT.MASKS.FOLDER; the last four know no classes, "
            "so that CLIP alone names them, and their options are INPUT.MASKS'",
        ),
        "SAM_CHECKPOINT": Key("", text(), "a weight file of SAM's authors, for 'sam'"),
        "LAMBDA": Key(
            0.7, share(), "lambda: 0 takes the classes of the proposals alone, 1 those of CLIP"
        ),
        "UNSEEN_LAMBDA": Key(
            -1.0,
            either(share(), number(below=0, least=-1_000_000)),
            "lambda of the classes that training has not seen, by DATASETS.TRAIN and "
            "INPUT.SEMANTIC.UNSEEN; a negative number is LAMBDA",
        ),
        "DEMO": Key(
            False,
            flag(),
            "for one or a few words: CLIP alone, binary masks, of each word the best, and 'others'",
        ),
        "OFFICIAL": Key(
            False, flag(), "whether lambda 0 is what the release reads it as, CLIP alone"
        ),
        "CLIP_WEIGHTS": Key(
            "",
            text(),
            "a checkpoint of MaskAdaptedCLIP or of a CLIP; its image half and, if it has some, "
            "mask prompts replace those of MODEL.CLIP and of MODEL.WEIGHTS; '' keeps them",
        ),
        "PROMPT_DEPTH": Key(
            0, whole(0, 1024), "blocks that mask prompts enter; with CLIP_WEIGHTS it is the file's"
        ),
        # See ovseg_d2.ops.CropOptions.
        "CROP.THRESHOLD": Key(
            0.4,
            number(0, below=1),
            "pixels of a mask that are more probable than this belong to its crop",
        ),
        "CROP.EXPAND_RATIO": Key(
            1.0, number(1, 1000), "factor by which the tight box of a mask is scaled"
        ),
        "CROP.FILL": Key(
            "mean",
            one_of("mean", "zero", "none"),
            "what the background of crops becomes; with 'none' it stays",
        ),
        "CROP.MATTING": Key(False, flag(), "whether masks are cut out softly"),
        "CROP.BATCH_SIZE": Key(32, whole(1, 2**20), "crops encoded at once"),
    },
)

# Read if MODEL.SEM_SEG_HEAD.NAME is OVSegMaskFormerHead. The matcher has the same weights of
# classes and masks as the loss.
_MASKFORMER = below(
    "MODEL.OVSEG.MASKFORMER",
    {
        "IN_FEATURES": Key(
            [], list_of(name()), "names of the backbone's maps; [] takes all that it gives"
        ),
        "QUERIES": Key(100, whole(1, 65536), "masks of an image"),
        "CONV_CHANNELS": Key(
            256, whole(32, 8192), "channels of the pixel decoder, a multiple of 32"
        ),
        "MASK_CHANNELS": Key(256, whole(1, 8192), "channels of the map that masks are read from"),
        "DIM": Key(256, whole(1, 8192), "width of the transformer"),
        "LAYERS": Key(6, whole(1, 256), "layers of the transformer's decoder"),
        "ENCODER_LAYERS": Key(
            0, whole(0, 256), "layers of a transformer encoder on the coarsest map"
        ),
        # The release's MASK_FORMER.ENC_LAYERS, PRE_NORM and ENFORCE_INPUT_PROJ.
        "MEMORY_LAYERS": Key(
            0,
            whole(0, 256),
            "layers of a further encoder, of width DIM, in front of the transformer's decoder",
        ),
        "PRE_NORM": Key(
            False, flag(), "whether transformers norm before their blocks in place of after them"
        ),
        "PROJECT_MEMORY": Key(
            False,
            flag(),
            "whether the coarsest map passes a 1x1 convolution even if it has DIM channels",
        ),
        "HEADS": Key(8, whole(1, 1024), "heads of the transformer; they divide DIM"),
        "HIDDEN_DIM": Key(2048, whole(1, 65536), "width of feed-forward blocks"),
        "EMBED_HIDDEN_DIM": Key(
            1024, whole(1, 65536), "width of the network behind proposal embeddings"
        ),
        "DROPOUT": Key(0.1, number(0, below=1), "share of the activations that training drops"),
        "LOGIT_SCALE": Key(
            100.0,
            number(above=0, most=10_000),
            "factor of the cosines with texts; CLIP's own is not used",
        ),
        "SIZE_DIVISIBILITY": Key(
            32,
            whole(0, 4096),
            "pixels that images are padded to a multiple of, beside what the backbone needs",
        ),
        "DEEP_SUPERVISION": Key(True, flag(), "whether the loss is of all layers of the decoder"),
        "CLASS_WEIGHT": Key(1.0, _WEIGHT, "weight of the loss of classes"),
        "MASK_WEIGHT": Key(20.0, _WEIGHT, "weight of the focal loss of masks"),
        "DICE_WEIGHT": Key(1.0, _WEIGHT, "weight of the dice loss of masks"),
        "NO_OBJECT_WEIGHT": Key(
            0.1, _WEIGHT, "weight of the queries without an object in the loss of classes"
        ),
        # Pixels without a class, above all those of unseen classes, may belong to a mask.
        "LEAVE_OUT_IGNORED": Key(
            True,
            flag(),
            "whether pixels without a class are left out of mask losses and matching; with False "
            "they are outside of all masks, as in the release",
        ),
    },
)

OVSEG_KEYS = _OVSEG | _MASKFORMER
