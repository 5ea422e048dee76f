"""Keys of networks whose classifier is text: MaskCLIP+ and the fine-tuning it argues against.

plugin.dense_head, plugin.maskclip_plus and plugin.clip_fine_tune read them. Of detectron2's keys,
MODEL.BACKBONE.NAME names the backbone and MODEL.SEM_SEG_HEAD describes the head: NAME is
OVSegDeepLabV2Head, OVSegDeepLabV3PlusHead, OVSegPSPHead or OVSegNoHead; the last of IN_FEATURES is
the map that the head reads (DeepLabv3+ takes a finer one first); NORM, IGNORE_VALUE and
LOSS_WEIGHT keep their meaning. Heads have the joint embedding's number of channels.
"""

from .keys import Key, below
from .values import flag, list_of, number, one_of, share, whole

__all__ = ["DENSE_KEYS"]

_SCALE = number(0, 10_000)

_DENSE_HEAD = below(
    "MODEL.DENSE_HEAD",
    {
        "DILATIONS": Key(
            [6, 12, 18, 24],
            list_of(whole(1, 256), least=1),
            "locations, one for each branch of a DeepLab; 1 is a convolution of 1x1",
        ),
        "LOW_CHANNELS": Key(48, whole(1, 8192), "channels of DeepLabv3+'s finer map"),
        "SEPARABLE": Key(True, flag(), "whether DeepLabv3+'s convolutions are depthwise"),
        "POOL_SCALES": Key(
            [1, 2, 3, 6], list_of(whole(1, 256), least=1), "sides of PSPNet's grids"
        ),
    },
)

# The teacher is MODEL.CLIP's tower with MODEL.MASKCLIP's refinement.
_MASKCLIP_PLUS = below(
    "MODEL.MASKCLIP_PLUS",
    {
        "SETTING": Key(
            "annotation_free",
            one_of("annotation_free", "zero_shot"),
            "what has labels; in zero_shot INPUT.SEMANTIC.UNSEEN says what has none",
        ),
        "SELF_TRAINING": Key(
            "auto",
            one_of("auto", "on", "off"),
            "whether the student's own labels take the place of the teacher's; 'auto' does so in "
            "zero_shot",
        ),
        "SELF_TRAINING_START": Key(0.1, share(), "share of SOLVER.MAX_ITER that goes before"),
        "CONFIDENCE": Key(
            0.0,
            share(),
            "pseudo-labels less probable than this are not trained on; 0 trusts all",
        ),
        "TARGET": Key(
            "labels",
            one_of("labels", "features"),
            "what the student learns of the teacher; features are its embedding of each location",
        ),
        "FEATURE_WEIGHT": Key(1.0, number(0, 1_000_000), "weight of the loss of features"),
        "LOGIT_SCALE": Key(
            0.0,
            _SCALE,
            "factor of the student's cosines; 0 compares its features at their own length, as "
            "published",
        ),
        "LEARN_BACKGROUND": Key(
            False,
            flag(),
            "whether a learnt vector takes the place of the text of the vocabulary's background "
            "classes",
        ),
        "OFFICIAL": Key(
            False,
            flag(),
            "whether the loss is the release's, divided by all pixels, ignored ones too",
        ),
    },
)

# MODEL.CLIP_BACKBONE.FROZEN or MODEL.TIMM.FROZEN, by backbone, freezes the encoder.
_FINE_TUNE = below(
    "MODEL.FINE_TUNE",
    {
        "MAPPER": Key(
            "none",
            one_of("none", "linear", "mlp"),
            "the mapping from text embeddings to the classifier's weights",
        ),
        "LOGIT_SCALE": Key(
            0.0, _SCALE, "factor of the cosines; 0 compares features at their own length"
        ),
    },
)

DENSE_KEYS = _DENSE_HEAD | _MASKCLIP_PLUS | _FINE_TUNE
