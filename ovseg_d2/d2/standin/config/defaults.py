"""detectron2's default configuration, as far as anything the plugin uses reads it.

Sections of detection, panoptic segmentation and their heads are left out: a key that nothing here
would read is an error in a file, not a setting without effect.
"""

from typing import Any

LATEST_VERSION = 2


def build_defaults() -> dict[str, Any]:
    """The defaults as a fresh nested dict; detectron2's documentation explains each key."""
    return {
        "VERSION": LATEST_VERSION,
        "OUTPUT_DIR": "./output",
        "SEED": -1,  # negative: seeded from the clock; the order of data is the same all the same
        "CUDNN_BENCHMARK": False,
        "FLOAT32_PRECISION": "",
        "VIS_PERIOD": 0,  # iterations, 0 for never
        "MODEL": _build_model_defaults(),
        "INPUT": {
            "MIN_SIZE_TRAIN": (800,),  # pixels, shorter side
            "MIN_SIZE_TRAIN_SAMPLING": "choice",
            "MAX_SIZE_TRAIN": 1333,
            "MIN_SIZE_TEST": 800,
            "MAX_SIZE_TEST": 1333,
            "RANDOM_FLIP": "horizontal",
            "CROP": {"ENABLED": False, "TYPE": "relative_range", "SIZE": [0.9, 0.9]},
            "FORMAT": "BGR",
            "MASK_FORMAT": "polygon",
        },
        "DATASETS": {"TRAIN": (), "TEST": ()},
        "DATALOADER": {
            "NUM_WORKERS": 4,
            "ASPECT_RATIO_GROUPING": True,
            "SAMPLER_TRAIN": "TrainingSampler",
            "REPEAT_THRESHOLD": 0.0,
            "FILTER_EMPTY_ANNOTATIONS": True,
        },
        "SOLVER": _build_solver_defaults(),
        "TEST": {
            "EXPECTED_RESULTS": [],
            "EVAL_PERIOD": 0,
            "AUG": {
                "ENABLED": False,
                "MIN_SIZES": tuple(range(400, 1201, 100)),
                "MAX_SIZE": 4000,
                "FLIP": True,
            },
            "PRECISE_BN": {"ENABLED": False, "NUM_ITER": 200},
        },
    }


def _build_model_defaults() -> dict[str, Any]:
    return {
        "DEVICE": "cuda",
        "META_ARCHITECTURE": "GeneralizedRCNN",
        "WEIGHTS": "",
        "PIXEL_MEAN": [103.53, 116.28, 123.675],  # of ImageNet, 0-255, in the order BGR
        "PIXEL_STD": [1.0, 1.0, 1.0],
        "MASK_ON": False,
        "KEYPOINT_ON": False,
        "LOAD_PROPOSALS": False,
        "BACKBONE": {"NAME": "build_resnet_backbone", "FREEZE_AT": 2},
        "RESNETS": {
            "DEPTH": 50,
            "OUT_FEATURES": ["res4"],
            "NORM": "FrozenBN",
            "STEM_OUT_CHANNELS": 64,
            "STRIDE_IN_1X1": True,
            "RES2_OUT_CHANNELS": 256,
            "NUM_GROUPS": 1,
            "WIDTH_PER_GROUP": 64,
            "RES5_DILATION": 1,
        },
        "SEM_SEG_HEAD": {
            "NAME": "SemSegFPNHead",
            "IN_FEATURES": ["p2", "p3", "p4", "p5"],
            "IGNORE_VALUE": 255,
            "NUM_CLASSES": 54,
            "CONVS_DIM": 128,
            "COMMON_STRIDE": 4,
            "NORM": "GN",
            "LOSS_WEIGHT": 1.0,
        },
    }


def _build_solver_defaults() -> dict[str, Any]:
    return {
        "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
        "MAX_ITER": 40000,
        "BASE_LR": 0.001,
        "BASE_LR_END": 0.0,
        "MOMENTUM": 0.9,
        "NESTEROV": False,
        "WEIGHT_DECAY": 0.0001,
        "WEIGHT_DECAY_NORM": 0.0,
        "WEIGHT_DECAY_BIAS": None,  # None: as WEIGHT_DECAY
        "BIAS_LR_FACTOR": 1.0,
        "GAMMA": 0.1,
        "STEPS": (30000,),
        "NUM_DECAYS": 3,
        "WARMUP_FACTOR": 0.001,
        "WARMUP_ITERS": 1000,
        "WARMUP_METHOD": "linear",
        "RESCALE_INTERVAL": False,
        "CHECKPOINT_PERIOD": 5000,
        "IMS_PER_BATCH": 16,  # over all processes
        "REFERENCE_WORLD_SIZE": 0,
        "CLIP_GRADIENTS": {
            "ENABLED": False,
            "CLIP_TYPE": "value",
            "CLIP_VALUE": 1.0,
            "NORM_TYPE": 2.0,
        },
        "AMP": {"ENABLED": False},
    }
