"""Keys of training and evaluation: ``SOLVER`` and ``TEST``."""

from typing import Any

from ..d2.config import CfgNode
from .keys import Key, below
from .values import Values, flag, list_of, name, number, one_of, sections, share, whole

__all__ = ["RUN_KEYS"]

_FACTOR = number(0, 1_000_000)


def _is_multiplier(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and name().fits(value[0]) and _FACTOR.fits(value[1])


# Read by engine.optimizer and engine.schedule.
_SOLVER = below(
    "SOLVER",
    {
        "OPTIMIZER": Key("ADAMW", one_of("ADAMW", "SGD"), "the optimizer"),
        "BETAS": Key([0.9, 0.98], list_of(number(0, below=1), 2), "the moments' decay in ADAMW"),
        "EPS": Key(1e-8, number(above=0, most=1), "what ADAMW adds to denominators"),
        "WEIGHT_DECAY_VECTORS": Key(
            0.0,
            number(0, 1000),
            "weight decay of vectors, scalars, norms and embeddings; it takes the place of "
            "detectron2's WEIGHT_DECAY_NORM and WEIGHT_DECAY_BIAS",
        ),
        "POLY_LR_POWER": Key(0.9, number(0, 100), "power of the decay in WarmupPolyLR"),
        "POLY_LR_FLOOR": Key(0.0, share(), "share of BASE_LR at which WarmupPolyLR ends"),
        "LR_MULTIPLIERS": Key(
            [],
            list_of(Values("a pair of a name and a factor of at least 0", _is_multiplier)),
            "pairs of a module's or parameter's name and what the learning rate below it is "
            "multiplied by, such as ['system.decoder', 10.0]; of several that fit, the longest "
            "name counts",
        ),
        # detectron2's own CLIP_GRADIENTS knows single parameters only, and works beside it.
        "MAX_GRAD_NORM": Key(
            0.0,
            number(0, 1_000_000_000),
            "largest norm of all gradients together; 0 leaves them as they are",
        ),
    },
)

# Read by engine.evaluate; TASK and MAX_IMAGES by data.loaders.
_TEST = below(
    "TEST",
    {
        "TASK": Key(
            "segmentation",
            one_of("segmentation", "mask_crops"),
            "what is evaluated; mask_crops are the classes of the truth's masks",
        ),
        "OWN_WORDS": Key(
            False,
            flag(),
            "whether each image is also evaluated with its own words, the classes that its labels "
            "hold",
        ),
        # See ovseg_d2.vocab.related_classes.
        "AMBIGUITY": Key(
            "off",
            one_of("off", "table", "wordnet"),
            "whether mIoU is also given with synonyms and kinds of the label counted as right, by "
            "the package's table of the benchmarks' classes, or by WordNet where wn or NLTK has it",
        ),
        # Of 0.0001 to 0.3 the best for ShapesCLIP on dev.
        "PROBE_PENALTY": Key(
            0.1,
            number(0, 1_000_000_000),
            "weight of the squared norm in the regression of linear probes",
        ),
        "CEILING": Key(
            "",
            one_of("", "patch", "gt_masks", "gt_labels"),
            "a ceiling to evaluate in place of the model; gt_masks are the truth's masks with the "
            "model's names, gt_labels are OVSeg's masks with the truth's names",
        ),
        "LAMBDAS": Key(
            [], list_of(share()), "lambdas at which OVSeg is evaluated too, in one pass"
        ),
        "MAX_IMAGES": Key(
            0, whole(0), "images of each dataset that evaluations use, the first ones; 0 is all"
        ),
        # See config.per_dataset.
        "DATASETS": Key(
            CfgNode(new_allowed=True),
            sections(),
            "for each test dataset, by its name, keys with another value than outside, such as "
            "TEST.DATASETS.ovseg_voc20_val.MODEL.OVSEG.LAMBDA",
        ),
    },
)

RUN_KEYS = _SOLVER | _TEST
