"""MaskCLIP+ on the Shapes world: its teacher, its settings, and the fine-tuning baseline."""

from collections.abc import Iterator

from .jobs import Job
from .maskclip import COLUMNS
from .tables import Claim

__all__ = ["maskclip_plus_claim"]

_TEACHER = "configs/maskclip.yaml"
_FREE = "configs/maskclip_plus.yaml"
_ZERO_SHOT = "configs/maskclip_plus_zero_shot.yaml"
_FINE_TUNE = "configs/finetune_baseline.yaml"

_REFINED = ("MODEL.MASKCLIP.KEY_SMOOTHING", "1.0", "MODEL.MASKCLIP.PROMPT_DENOISING", "0.5")
_SELF_TRAINING = "MODEL.MASKCLIP_PLUS.SELF_TRAINING"
_FROZEN = ("MODEL.CLIP_BACKBONE.FROZEN", "True")
_DIRECT = ("MODEL.FINE_TUNE.MAPPER", "none")
# CLIP's dense features, compared by cosines as in MaskCLIP; 100 is about the scale at the end of
# CLIP's training.
_NO_HEAD = (
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegNoHead"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['clip_dense']"),
    *("MODEL.FINE_TUNE.LOGIT_SCALE", "100.0"),
)
# At that scale the learning rate has to be smaller.
_ENCODER_ALONE = ("SOLVER.LR_MULTIPLIERS", "[['system.segmenter.network.backbone', 0.01]]")
# The network of configs/maskclip_plus.yaml, without weights of CLIP. Its classifier compares
# cosines; that of the fine-tuning compares features that are not normalised.
_STUDENT = (
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone"),
    *("MODEL.TIMM.NAME", "resnet18"),
    *("MODEL.TIMM.OUTPUT_STRIDE", "8"),
    *("MODEL.TIMM.OUT_INDICES", "[1, 3]"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV3PlusHead"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res3']"),
)
_COSINES = ("MODEL.FINE_TUNE.LOGIT_SCALE", "30.0")

_TEACHERS = {
    "MaskCLIP, the teacher": (),
    "MaskCLIP, key smoothing and prompt denoising": _REFINED,
}
_TRAININGS = {
    "MaskCLIP+, annotation-free": (_FREE, ()),
    "MaskCLIP+, annotation-free, features at their own length": (
        _FREE,
        ("MODEL.MASKCLIP_PLUS.LOGIT_SCALE", "0.0"),
    ),
    "MaskCLIP+, annotation-free, key smoothing and prompt denoising": (_FREE, _REFINED),
    "MaskCLIP+, annotation-free, features for a target": (
        _FREE,
        ("MODEL.MASKCLIP_PLUS.TARGET", "features"),
    ),
    "MaskCLIP+, zero-shot, CLIP's guidance throughout": (_ZERO_SHOT, (_SELF_TRAINING, "off")),
    "MaskCLIP+, zero-shot, self-training": (_ZERO_SHOT, ()),
    "fine-tuning: head, trained encoder, mapper": (_FINE_TUNE, ()),
    "fine-tuning: head, trained encoder": (_FINE_TUNE, _DIRECT),
    "fine-tuning: head, frozen encoder, mapper": (_FINE_TUNE, _FROZEN),
    "fine-tuning: head, frozen encoder": (_FINE_TUNE, (*_FROZEN, *_DIRECT)),
    "fine-tuning: trained encoder": (_FINE_TUNE, (*_NO_HEAD, *_DIRECT, *_ENCODER_ALONE)),
    "fine-tuning: frozen encoder, mapper": (_FINE_TUNE, (*_NO_HEAD, *_FROZEN)),
    "MaskCLIP+'s network, labels of base classes alone": (
        _FINE_TUNE,
        (*_STUDENT, *_COSINES, *_DIRECT),
    ),
    "the same, features at their own length": (_FINE_TUNE, (*_STUDENT, *_DIRECT)),
}


def maskclip_plus_claim(split: str = "val", seeds: int = 3) -> Claim:
    """The table of settings on a split of the Shapes world, base, novel and their harmonic mean.

    Args:
        split: ``dev`` for choosing, ``val`` for reporting.
        seeds: trainings of each row.
    """
    jobs = tuple(_jobs(split, seeds))
    columns = {
        **COLUMNS,
        "base and novel, harmonic": "hIoU",
        "base, its pixels alone": "mIoU_base_own_pixels",
    }
    return Claim(f"MaskCLIP+ on ShapesCLIP, Shapes {split}, mIoU", jobs, columns)


def _jobs(split: str, seeds: int) -> Iterator[Job]:
    test = ("DATASETS.TEST", f"('ovseg_shapes_{split}',)", "TEST.MAX_IMAGES", "0")
    for row, opts in _TEACHERS.items():
        yield Job(row, _TEACHER, (*opts, *test))
    for row, (config_file, opts) in _TRAININGS.items():
        for seed in range(seeds):
            # Evaluated once, at the end.
            yield Job(row, config_file, (*opts, *test, "TEST.EVAL_PERIOD", "0"), seed=seed)
