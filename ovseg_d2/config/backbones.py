"""Keys of backbones: ``MODEL.TIMM`` and ``MODEL.CLIP_BACKBONE``.

plugin.backbones reads them if MODEL.BACKBONE.NAME is OVSegTimmBackbone or OVSegCLIPBackbone.
"""

from .keys import Key, below
from .values import flag, list_of, name, number, one_of, text, whole

__all__ = ["BACKBONE_KEYS"]

_FROZEN = Key(False, flag(), "whether nothing is trained, batch statistics included")

_TIMM = below(
    "MODEL.TIMM",
    {
        "NAME": Key(
            "resnet50", name(), "a name of timm.list_models(), the tag of its weights included"
        ),
        "PRETRAINED": Key(
            "",
            text(),
            "'' is random, 'timm' is the weights that timm has for the name, anything else is a "
            "weight file or a folder with one; not looked for if MODEL.WEIGHTS holds a backbone",
        ),
        "OUT_INDICES": Key(
            [],
            list_of(whole(-1000, 1000)),
            "timm's numbers of the maps to compute, also from the end; [] is timm's own choice",
        ),
        "OUT_FEATURES": Key(
            [],
            list_of(name()),
            "names of the maps to give: res2 (or p2) for a stride of 4, res3 for 8; [] gives all",
        ),
        "IN_CHANNELS": Key(
            0, whole(0, 1024), "channels of the images; 0 takes the length of MODEL.PIXEL_MEAN"
        ),
        "SIZE_DIVISIBILITY": Key(
            0,
            whole(0, 4096),
            "pixels that images are padded to a multiple of; 0 is what the network needs",
        ),
        "OUTPUT_STRIDE": Key(
            0,
            one_of(0, 8, 16, 32),
            "pixels from location to location of the coarsest map: later stages are dilated "
            "instead of halved, in networks that can; 0 leaves them as they are",
        ),
        # The Swin of released weights; see ovseg_d2.nets.SwinFeatures.
        "DETECTOR_SWIN": Key(
            False, flag(), "whether NAME is a Swin as detectors have it, with all its maps"
        ),
        "ABSOLUTE_POSITIONS": Key(
            False, flag(), "whether the detectors' Swin adds learnt positions to its patches"
        ),
        "DROP_PATH": Key(
            0.0,
            number(0, below=1),
            "how often the detectors' Swin passes over its last block in training",
        ),
        "NORM": Key(
            "",
            one_of("", "SyncBN"),
            "'' leaves batch norms as they are, 'SyncBN' lets all processes share their statistics",
        ),
        "FROZEN": _FROZEN,
    },
)

_CLIP_BACKBONE = below(
    "MODEL.CLIP_BACKBONE",
    {
        "OUT_FEATURES": Key(
            [],
            list_of(name()),
            "names of the maps of MODEL.CLIP's tower: res2 to res5 or, of a ViT, clip_tokens; and "
            "clip_dense; [] gives all",
        ),
        "FROZEN": _FROZEN,
    },
)

BACKBONE_KEYS = _TIMM | _CLIP_BACKBONE
