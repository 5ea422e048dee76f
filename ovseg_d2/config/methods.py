"""Keys of MaskCLIP, map correction, CLIPPretrain, MaskedDistillCLIP and MaskAdaptedCLIP."""

from .keys import Key, below
from .values import flag, list_of, name, number, one_of, share, text, whole

__all__ = ["METHOD_KEYS"]

_WEIGHT = number(0, 1_000_000)
_SCALE = number(0, 10_000)

# Read by plugin.maskclip.
_MASKCLIP = below(
    "MODEL.MASKCLIP",
    {
        "PROMPT_DENOISING": Key(
            0.0,
            share(),
            "classes nowhere at least this probable leave an image, 0.5 in the paper; 0 keeps all",
        ),
        "KEY_SMOOTHING": Key(
            0.0,
            share(),
            "patches less sure than this are scored by all patches with similar keys, 1.0 in the "
            "paper; 0 leaves all as they are",
        ),
        "GUIDED.RADIUS": Key(
            0,
            whole(0, 16),
            "patches in each direction whose scores a pixel takes by the likeness of colours, "
            "such as 2; 0 resizes scores bilinearly",
        ),
        "GUIDED.SPACE_STD": Key(
            1.0,
            number(above=0, most=1000),
            "standard deviation of the distance between pixel and patch, in patches",
        ),
        "GUIDED.COLOUR_STD": Key(
            30.0,
            number(above=0, most=1000),
            "standard deviation of the distance between their colours, of 0 to 255",
        ),
        "PAMR.STEPS": Key(
            0,
            whole(0, 1000),
            "times that scores spread between neighbouring pixels of similar colour, 10 in NACLIP",
        ),
        "PAMR.DILATIONS": Key(
            [8, 16],
            list_of(whole(1, 4096), least=1),
            "pixels to the eight neighbours, once for each number",
        ),
        "BACKGROUND_THRESHOLD": Key(
            0.0,
            share(),
            "pixels of which no class is at least this probable are background; 0 finds none",
        ),
        "CLASS_THRESHOLDS": Key(
            [],
            list_of(name()),
            "thresholds of single classes in place of BACKGROUND_THRESHOLD, such as 'cat = 0.4'",
        ),
        "BACKGROUND_MIN_SHARE": Key(
            0.0,
            share(),
            "classes that win no more than this share of the foreground become background; 0 keeps "
            "all",
        ),
        "WINDOW": Key(
            0, whole(0, 65536), "pixels of a sliding window's side; 0 sees images as a whole"
        ),
        "STRIDE": Key(0, whole(0, 65536), "pixels from window to window; 0 is half a window"),
        "SHIFTS": Key(
            1,
            whole(1, 64),
            "n: scores are the mean of n x n passes over the image, moved by multiples of 1/n of a "
            "patch; they take n x n times the time",
        ),
        "AVERAGE": Key(
            "cosines",
            one_of("cosines", "probabilities"),
            "what is spread between patches, and averaged over windows and passes; probabilities "
            "are those of all words at a patch, by LOGIT_SCALE",
        ),
        "LOGIT_SCALE": Key(
            0.0, _SCALE, "factor of the cosines before any softmax; 0 is the tower's own"
        ),
        "INDEPENDENT": Key(
            False,
            flag(),
            "whether every word has a probability of its own, by SigLIP's bias, in place of a "
            "softmax over words; with BACKGROUND_THRESHOLD pixels that no word fits are background",
        ),
        # See ovseg_d2.masks.load_patch_network.
        "GUIDE.NAME": Key(
            "",
            text(),
            "a ViT of timm whose features LAST_BLOCK.ATTENTION affinity and PROPAGATION compare, "
            "such as 'vit_base_patch8_224.dino' or SAM's encoder, 'samvit_base_patch16.sa1b'; '' "
            "is none, and PROPAGATION compares the tower's own",
        ),
        "GUIDE.WEIGHTS": Key(
            "",
            text(),
            "the guide's weight file or a folder with one, 'random', or '' for timm's weights",
        ),
        "GUIDE.FEATURES": Key(
            "output",
            one_of("output", "query", "key", "value"),
            "the guide's features: the last layer's output, or a part of its last attention",
        ),
        "GUIDE.SIZE": Key(
            0,
            whole(0, 65536),
            "pixels of an image's or window's shorter side for the guide; 0 keeps the size",
        ),
        # See ovseg_d2.systems.Spreading.
        "GLOBAL_MIXING": Key(
            0.0,
            _SCALE,
            "factor of the cosines by which similar locations of all windows mix their features, "
            "10 in RADSeg; 0 mixes none",
        ),
        "PROPAGATION.ALPHA": Key(
            0.0,
            number(0, below=1),
            "share of a location's score that comes from similar locations of all windows, 0.95 in "
            "LPOSS; 0 propagates none",
        ),
        "PROPAGATION.NEIGHBOURS": Key(
            400, whole(1, 1_000_000), "locations that a location takes scores from, itself included"
        ),
        "PROPAGATION.EXPONENT": Key(
            3.0, number(above=0, most=1000), "exponent of the cosines that weigh these locations"
        ),
        "PROPAGATION.DECAY": Key(
            0.01, number(0, 1000), "decay of these weights for each pixel of distance"
        ),
        "PROPAGATION.STEPS": Key(10, whole(1, 10_000), "largest number of the solver's steps"),
        "OFFICIAL": Key(
            False,
            flag(),
            "whether geometry, refinement and keys are those of the method's release, where it "
            "differs from the paper or from CLIP",
        ),
    },
)

# Masks without classes that correct the labels of every model that scores pixels. Read by
# plugin.input_masks; options of the sources are INPUT.MASKS'.
_MAP_CORRECTION = below(
    "MODEL.MAP_CORRECTION",
    {
        "SOURCE": Key(
            "none",
            one_of("none", "felzenszwalb", "dino", "sam", "stored"),
            "whose masks; of masks that overlap the largest counts; 'stored' are those of "
            "INPUT.MASKS.FOLDER, made by tools/generate_masks.py with any source or by SA-1B",
        ),
        "RULE": Key(
            "mode",
            one_of("mode", "mean"),
            "what the pixels of a mask become: the class that most of them have, or the one with "
            "the best mean score",
        ),
    },
)

# Read by plugin.clip_pretrain.
_CLIP_PRETRAIN = below(
    "MODEL.CLIP_PRETRAIN",
    {
        "MAX_LOGIT_SCALE": Key(
            100.0, number(above=0, most=10_000), "largest value of the learnt factor of the cosines"
        ),
        # See ovseg_d2.systems.CLIPPretrain.
        "ATTENTION_ONLY": Key(
            0.0,
            share(),
            "share of each batch read as what the last block's attention gathers, a ViT's class "
            "token left out",
        ),
    },
)

# Prediction of masked patches and words, beside MODEL.CLIP_PRETRAIN's contrastive training. Read
# by plugin.masked_distill_clip.
_MASKED_DISTILL = below(
    "MODEL.MASKED_DISTILL",
    {
        "WEIGHT": Key(0.05, _WEIGHT, "weight of the distillation's loss; 0 does without it"),
        "TARGET": Key(
            "teacher",
            one_of("teacher", "student", "pixels"),
            "what is guessed of hidden patches: features of the moving average, the student's own "
            "features, or pixels",
        ),
        "MASK_RATIO": Key(0.75, number(above=0, below=1), "share of the patches that is hidden"),
        "MOMENTUM": Key(0.999, number(0, below=1), "momentum of the teacher"),
        "DECODER_LAYERS": Key(1, whole(1, 256), "blocks of the decoder of patches"),
        "DECODER_HEADS": Key(
            0, whole(0, 1024), "heads of these blocks; 0 is as many as the image half has"
        ),
        "NUM_CODES": Key(8192, whole(2, 2**20), "codes of the online tokenizer"),
        "HIDDEN_DIM": Key(
            2048, whole(0, 65536), "width of the tokenizer's hidden layer; 0 does without it"
        ),
        "CODE_DIM": Key(256, whole(1, 65536), "width of the space that codes lie in"),
        "STUDENT_TEMPERATURE": Key(
            0.1, number(above=0, most=1000), "temperature of the student's codes"
        ),
        "TEACHER_TEMPERATURE": Key(
            0.04, number(above=0, most=1000), "temperature of the teacher's codes"
        ),
        "CENTER_MOMENTUM": Key(
            0.9,
            number(0, below=1),
            "momentum of the mean that is subtracted from the teacher's codes",
        ),
        "LANGUAGE.WEIGHT": Key(
            0.0, _WEIGHT, "weight of the loss of masked words, 0.05 in the paper; 0 does without"
        ),
        "LANGUAGE.MASK_RATIO": Key(
            0.2, number(above=0, below=1), "share of a caption's words that is masked"
        ),
        "LANGUAGE.REPLACE": Key(
            [0.8, 0.1],
            list_of(share(), 2),
            "shares of the masked words that become the mask's vector, and another word",
        ),
        "LANGUAGE.DECODER_LAYERS": Key(4, whole(1, 256), "blocks of the decoder of words"),
        "LANGUAGE.DECODER_HEADS": Key(
            0, whole(0, 1024), "heads of these blocks; 0 is as many as the text half has"
        ),
    },
)

# Classification of masked crops. Read by plugin.mask_adapted_clip and, when pairs are mined, by
# prepare.pair_job.
_MASK_ADAPTED_CLIP = below(
    "MODEL.MASK_ADAPTED_CLIP",
    {
        "TRAIN": Key("prompts", one_of("prompts", "image", "both"), "what is trained"),
        "PROMPT_DEPTH": Key(
            3, whole(0, 1024), "blocks that mask prompts enter; 0 does without prompts"
        ),
        "TEMPLATES": Key(
            [],
            list_of(name()),
            "templates around nouns in training, as in MODEL.TEXT.TEMPLATES; [] takes those",
        ),
        "FILL": Key("mean", one_of("mean", "zero", "none"), "what the background of crops becomes"),
        "MAX_LOGIT_SCALE": Key(
            100.0, number(above=0, most=10_000), "largest value of the learnt factor of the cosines"
        ),
        "OFFICIAL": Key(
            False,
            flag(),
            "whether the loss is the release's: what shares a noun counts as each other's "
            "negatives",
        ),
    },
)

METHOD_KEYS = _MASKCLIP | _MAP_CORRECTION | _CLIP_PRETRAIN | _MASKED_DISTILL | _MASK_ADAPTED_CLIP
