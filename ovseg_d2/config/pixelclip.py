"""Keys of PixelCLIP: training of the image encoder on unlabelled masks.

plugin.pixelclip reads them if MODEL.SEM_SEG_HEAD.NAME is OVSegPixelCLIPClusterHead. The last block
is MODEL.CLIP's, and training images are drawn every VIS_PERIOD iterations.
"""

from .keys import Key, below
from .values import either, empty, flag, list_of, name, number, one_of, size, whole

__all__ = ["PIXELCLIP_KEYS"]

PIXELCLIP_KEYS = below(
    "MODEL.PIXELCLIP",
    {
        "CLUSTERING": Key(
            "prompts",
            one_of("prompts", "names", "vectors", "none"),
            "what masks are gathered by: learnable prompts, fixed class names, vectors of their "
            "own without the text encoder, or nothing, so that each mask is its own target",
        ),
        "CLUSTERS": Key(
            64, whole(1, 65536), "k, the number of clusters; of 'names' there are as many as names"
        ),
        "LEARNABLE": Key(
            True, flag(), "whether prompts or vectors are trained, or stay as they were drawn"
        ),
        "PROMPT_LENGTH": Key(4, whole(1, 1024), "l, tokens of a prompt"),
        "PROMPT_WORDS": Key(
            [],
            list_of(name()),
            "words whose tokens prompts are drawn from at first; [] draws from all tokens",
        ),
        "TEMPLATES": Key(
            ["pixelclip_single"],
            list_of(name(), least=1),
            "templates around prompts and names: one name of a template set, or templates that "
            "hold one {} each, all of which are used; ['bare'] is the prompt alone",
        ),
        "CLASS_NAMES": Key(
            [], list_of(name()), "the names of 'names', or one word list of ovseg_d2.vocab"
        ),
        "MOMENTUM": Key(0.999, number(0, below=1), "momentum of the teacher; 0 does without one"),
        "EPSILON": Key(
            0.01,
            number(above=0, most=1000),
            "what cosines are divided by; 1.0 in the paper for a ConvNeXt",
        ),
        "SINKHORN_ITERS": Key(
            3,
            whole(0, 1000),
            "Sinkhorn's scalings of clusters and masks; 0 is each mask's softmax, without balance",
        ),
        # With few masks per cluster, the balance spreads masks of one class over many clusters.
        "QUEUE": Key(
            0,
            whole(0, 2**20),
            "masks of earlier batches that share in the balance; 0 for none, as in the paper, "
            "where a batch has thousands of masks",
        ),
        "MASK_SIZE": Key([256, 256], size(4096), "pixels of masks and of the decoder's output"),
        "IMAGE_SIZE": Key(
            [],
            either(size(4096), empty()),
            "pixels that images are encoded at, [320, 320] in the paper for a ViT; [] leaves them "
            "as the mapper gives them",
        ),
        # See ovseg_d2.clip.set_trainable.
        "TRAINABLE": Key(
            "attention",
            one_of("attention", "conv", "full", "none"),
            "the part of the image encoder that is trained",
        ),
        "DECODER_CHANNELS": Key(
            [64, 32],
            list_of(whole(1, 4096), 2),
            "channels of the decoder at twice and at four times the resolution of the features",
        ),
        "DECODER_STEM": Key(
            0,
            whole(0, 4096),
            "channels of the decoder's first convolution; 0 takes the first of DECODER_CHANNELS",
        ),
        "OFFICIAL": Key(
            False,
            flag(),
            "whether the start of Sinkhorn's iterations, the inference and sizes that are not "
            "whole patches are as in the release",
        ),
    },
)
