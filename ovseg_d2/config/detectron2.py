"""Keys of detectron2 that the plugin or its stand-in reads: their values and changed defaults.

:func:`~ovseg_d2.config.devices.resolve_device` checks MODEL.DEVICE. Further keys of detectron2 are
not checked.
"""

from typing import Any

from .keys import THEIRS, Key, below
from .values import (
    Values,
    either,
    flag,
    list_of,
    name,
    nothing,
    number,
    one_of,
    ordered,
    share,
    text,
    whole,
)

__all__ = ["DETECTRON2_KEYS"]

_SIDE = whole(0, 65536)
_DATASETS = Key(THEIRS, list_of(name()), "names of registered datasets, or files of pairs")
_NORM = one_of("", "BN", "SyncBN", "FrozenBN", "GN", "LN")
_STAGE = one_of("stem", "res2", "res3", "res4", "res5")
_DECAY = number(0, 1000)
_DILATIONS = list_of(whole(1, 256), 3)


def _is_expectation(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    return all(map(text().fits, value[:2])) and all(map(number().fits, value[2:]))


_RUN = {
    "VERSION": Key(THEIRS, one_of(2), "version of the config's format"),
    "OUTPUT_DIR": Key(THEIRS, name(), "folder of logs, checkpoints and results"),
    # Not detectron2's -1: every run can be repeated.
    "SEED": Key(0, whole(-1), "seed of everything random; -1 draws one"),
    "CUDNN_BENCHMARK": Key(THEIRS, flag(), "whether cuDNN looks for the fastest algorithms"),
    "FLOAT32_PRECISION": Key(
        THEIRS, one_of("", "highest", "high", "medium"), "of matrix products in float32"
    ),
    "VIS_PERIOD": Key(THEIRS, whole(0), "iterations between drawings of training images; 0: none"),
    "DATASETS.TRAIN": _DATASETS,
    "DATASETS.TEST": _DATASETS,
    "DATALOADER.NUM_WORKERS": Key(0, whole(0, 1024), "processes that read data; 0: this process"),
    # Grouping would make batches depend on the number of workers.
    "DATALOADER.ASPECT_RATIO_GROUPING": Key(
        False, flag(), "whether detectron2's loader puts images of one orientation together"
    ),
}

_INPUT = below(
    "INPUT",
    {
        "FORMAT": Key("RGB", one_of("RGB", "BGR"), "order of the channels that models are given"),
        "MIN_SIZE_TRAIN": Key(
            THEIRS, list_of(_SIDE, least=1), "pixels of the shorter side in training"
        ),
        "MIN_SIZE_TRAIN_SAMPLING": Key(
            THEIRS, one_of("choice", "range"), "how one of MIN_SIZE_TRAIN is drawn"
        ),
        "MAX_SIZE_TRAIN": Key(
            THEIRS, whole(1, 65536), "largest number of pixels of the longer side in training"
        ),
        "MIN_SIZE_TEST": Key(0, _SIDE, "pixels of the shorter side in tests; 0 keeps the image's"),
        "MAX_SIZE_TEST": Key(
            THEIRS, whole(1, 65536), "largest number of pixels of the longer side in tests"
        ),
        "RANDOM_FLIP": Key(
            THEIRS, one_of("none", "horizontal", "vertical"), "how half of the images are mirrored"
        ),
        "CROP.ENABLED": Key(THEIRS, flag(), "whether training images are cropped"),
        "CROP.TYPE": Key(
            THEIRS,
            one_of("relative_range", "relative", "absolute", "absolute_range"),
            "what CROP.SIZE is: shares of the image or pixels",
        ),
        "CROP.SIZE": Key(
            THEIRS,
            list_of(number(above=0, most=16384), 2),
            "height and width of crops, as shares or in pixels, see CROP.TYPE",
        ),
    },
)

_MODEL = below(
    "MODEL",
    {
        "META_ARCHITECTURE": Key("MaskCLIP", name(), "name of a registered model"),
        "WEIGHTS": Key(THEIRS, text(), "a checkpoint; '' starts from what the model is built with"),
        "PIXEL_MEAN": Key(
            THEIRS, list_of(number(-10_000, 10_000), least=1), "mean of each channel, of 0 to 255"
        ),
        "PIXEL_STD": Key(
            THEIRS,
            list_of(number(above=0, most=10_000), least=1),
            "standard deviation of each channel, of 0 to 255",
        ),
        "BACKBONE.NAME": Key(THEIRS, name(), "name of a registered backbone"),
        "BACKBONE.FREEZE_AT": Key(THEIRS, whole(0, 5), "stages of a ResNet that are not trained"),
        "SEM_SEG_HEAD.NAME": Key(THEIRS, name(), "name of a registered head"),
        "SEM_SEG_HEAD.IN_FEATURES": Key(THEIRS, list_of(name()), "names of the backbone's maps"),
        "SEM_SEG_HEAD.IGNORE_VALUE": Key(THEIRS, whole(0, 65535), "label of ignored pixels"),
        "SEM_SEG_HEAD.LOSS_WEIGHT": Key(THEIRS, number(0, 1_000_000), "weight of the head's loss"),
        "SEM_SEG_HEAD.NORM": Key(THEIRS, _NORM, "norm of the head's convolutions; '' is none"),
        "RESNETS.DEPTH": Key(THEIRS, one_of(18, 34, 50, 101, 152), "layers of the ResNet"),
        "RESNETS.OUT_FEATURES": Key(
            THEIRS,
            list_of(_STAGE, least=1),
            "maps that the ResNet gives",
        ),
        "RESNETS.NORM": Key(THEIRS, _NORM, "norm of the ResNet's convolutions"),
        "RESNETS.STEM_OUT_CHANNELS": Key(THEIRS, whole(1, 8192), "channels of the stem"),
        "RESNETS.RES2_OUT_CHANNELS": Key(THEIRS, whole(1, 8192), "channels of res2"),
        "RESNETS.NUM_GROUPS": Key(THEIRS, whole(1, 1024), "groups of the convolutions"),
        "RESNETS.WIDTH_PER_GROUP": Key(THEIRS, whole(1, 8192), "channels of a group in res2"),
        "RESNETS.STRIDE_IN_1X1": Key(
            THEIRS, flag(), "whether stages halve in their first convolution"
        ),
        "RESNETS.RES4_DILATION": Key(THEIRS, one_of(1, 2), "dilation of res4"),
        "RESNETS.RES5_DILATION": Key(THEIRS, one_of(1, 2, 4), "dilation of res5"),
        "RESNETS.RES5_MULTI_GRID": Key(THEIRS, _DILATIONS, "factors of the dilation in res5"),
        "RESNETS.STEM_TYPE": Key(
            THEIRS, one_of("basic", "deeplab"), "convolutions of the stem: one or three"
        ),
    },
)

_SOLVER = below(
    "SOLVER",
    {
        "LR_SCHEDULER_NAME": Key(
            THEIRS,
            one_of(
                "WarmupPolyLR", "WarmupCosineLR", "WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"
            ),
            "schedule of the learning rate",
        ),
        "MAX_ITER": Key(THEIRS, whole(1), "iterations of the training"),
        "IMS_PER_BATCH": Key(THEIRS, whole(1, 2**20), "images of a step, all processes together"),
        "BASE_LR": Key(THEIRS, number(0, 1000), "the learning rate"),
        "BASE_LR_END": Key(THEIRS, number(0, 1000), "learning rate at the end of WarmupCosineLR"),
        "MOMENTUM": Key(THEIRS, number(0, below=1), "momentum of SGD"),
        "NESTEROV": Key(THEIRS, flag(), "whether SGD's momentum is Nesterov's"),
        "WEIGHT_DECAY": Key(THEIRS, _DECAY, "weight decay of matrices and convolutions"),
        "WEIGHT_DECAY_NORM": Key(
            THEIRS, either(_DECAY, nothing()), "weight decay of norms in detectron2's optimizer"
        ),
        "WEIGHT_DECAY_BIAS": Key(
            THEIRS, either(_DECAY, nothing()), "weight decay of biases in detectron2's optimizer"
        ),
        "BIAS_LR_FACTOR": Key(
            THEIRS,
            number(0, 1_000_000),
            "factor of the biases' learning rate in detectron2's optimizer",
        ),
        "GAMMA": Key(THEIRS, number(0, 1000), "factor of the learning rate at each step"),
        "STEPS": Key(THEIRS, ordered(list_of(whole(1))), "iterations at which the rate falls"),
        "NUM_DECAYS": Key(THEIRS, whole(1, 10_000), "falls of WarmupStepWithFixedGammaLR"),
        "WARMUP_FACTOR": Key(THEIRS, share(), "share of the rate at which the warm-up starts"),
        "WARMUP_ITERS": Key(THEIRS, whole(0), "iterations of the warm-up"),
        "WARMUP_METHOD": Key(THEIRS, one_of("linear", "constant"), "course of the warm-up"),
        "RESCALE_INTERVAL": Key(THEIRS, flag(), "whether the schedule starts behind the warm-up"),
        "POLY_LR_CONSTANT_ENDING": Key(
            THEIRS, share(), "floor of detectron2's own WarmupPolyLR, a share of BASE_LR"
        ),
        "CHECKPOINT_PERIOD": Key(THEIRS, whole(1), "iterations between checkpoints"),
        "REFERENCE_WORLD_SIZE": Key(
            THEIRS,
            whole(0, 2**20),
            "processes that the config was written for; 0 does not scale it",
        ),
        "CLIP_GRADIENTS.ENABLED": Key(
            THEIRS, flag(), "whether each parameter's gradient is clipped"
        ),
        "CLIP_GRADIENTS.CLIP_TYPE": Key(THEIRS, one_of("value", "norm"), "what is clipped"),
        "CLIP_GRADIENTS.CLIP_VALUE": Key(
            THEIRS, number(above=0, most=1_000_000_000), "the largest one"
        ),
        "CLIP_GRADIENTS.NORM_TYPE": Key(THEIRS, number(above=0, most=1000), "p of the p-norm"),
        "AMP.ENABLED": Key(THEIRS, flag(), "whether training uses mixed precision"),
    },
)

_TEST = below(
    "TEST",
    {
        "EVAL_PERIOD": Key(
            THEIRS, whole(0), "iterations between evaluations; 0 evaluates at the end alone"
        ),
        "EXPECTED_RESULTS": Key(
            THEIRS,
            list_of(Values("[task, metric, value, tolerance]", _is_expectation)),
            "results that an evaluation is compared with",
        ),
        "PRECISE_BN.ENABLED": Key(
            THEIRS, flag(), "whether batch statistics are computed anew before evaluations"
        ),
        "PRECISE_BN.NUM_ITER": Key(THEIRS, whole(1), "batches for these statistics"),
    },
)

DETECTRON2_KEYS = _RUN | _INPUT | _MODEL | _SOLVER | _TEST
