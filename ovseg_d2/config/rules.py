"""Rules for values of several keys together."""

from collections.abc import Iterator

from ..d2.config import CfgNode

__all__ = ["check_together"]


def check_together(cfg: CfgNode) -> None:
    """Refuse values that contradict each other.

    Args:
        cfg: the whole config; every value is one that its key takes.

    Raises:
        ValueError: the first contradiction.
    """
    for sentence in _faults(cfg):
        raise ValueError(sentence)


def _faults(cfg: CfgNode) -> Iterator[str]:
    yield from _faults_of_input(cfg.INPUT)
    yield from _faults_of_model(cfg.MODEL)
    if cfg.MODEL.BACKBONE.NAME.startswith("build_resnet"):
        yield from _faults_of_resnets(cfg.MODEL.RESNETS, "deeplab" in cfg.MODEL.BACKBONE.NAME)
    yield from _faults_of_solver(cfg.SOLVER)


def _faults_of_input(inputs: CfgNode) -> Iterator[str]:
    sizes = list(inputs.MIN_SIZE_TRAIN)
    if inputs.MIN_SIZE_TRAIN_SAMPLING == "range" and (len(sizes) != 2 or sizes[0] > sizes[1]):
        yield (
            f"INPUT.MIN_SIZE_TRAIN is {sizes}, and INPUT.MIN_SIZE_TRAIN_SAMPLING range takes two "
            "sizes, the smaller one first"
        )


def _faults_of_model(model: CfgNode) -> Iterator[str]:
    if len(model.PIXEL_MEAN) != len(model.PIXEL_STD):
        yield (
            f"MODEL.PIXEL_MEAN has {len(model.PIXEL_MEAN)} numbers and MODEL.PIXEL_STD "
            f"{len(model.PIXEL_STD)}; give one of each for every channel"
        )
    if model.MASKCLIP.STRIDE > (model.MASKCLIP.WINDOW or model.MASKCLIP.STRIDE):
        yield (
            f"MODEL.MASKCLIP.STRIDE is {model.MASKCLIP.STRIDE} and MODEL.MASKCLIP.WINDOW "
            f"{model.MASKCLIP.WINDOW}; a stride larger than the window leaves pixels out"
        )
    calibration = model.CLIP.LAST_BLOCK.CALIBRATION
    if 0 < calibration.FIRST_LEVEL > calibration.LAST_LEVEL:
        yield (
            f"MODEL.CLIP.LAST_BLOCK.CALIBRATION.FIRST_LEVEL is {calibration.FIRST_LEVEL} and "
            f"LAST_LEVEL {calibration.LAST_LEVEL}; give the last block a larger number"
        )
    correction = model.MAP_CORRECTION.SOURCE
    if model.META_ARCHITECTURE == "OVSeg" and correction != "none":
        yield (
            f"MODEL.MAP_CORRECTION.SOURCE is {correction}, and OVSeg names whole masks already; "
            f"set it to none, or MODEL.OVSEG.PROPOSALS to {correction}"
        )
    former = model.OVSEG.MASKFORMER
    if former.DIM % former.HEADS:
        yield (
            f"MODEL.OVSEG.MASKFORMER.HEADS is {former.HEADS} and DIM {former.DIM}; give a number "
            "of heads that divides DIM"
        )
    if former.CONV_CHANNELS % 32:
        yield (
            f"MODEL.OVSEG.MASKFORMER.CONV_CHANNELS is {former.CONV_CHANNELS}; give a multiple of "
            "32, such as 64"
        )


def _faults_of_resnets(resnets: CfgNode, of_deeplab: bool) -> Iterator[str]:
    if not of_deeplab and resnets.RES5_DILATION == 4:
        yield "MODEL.RESNETS.RES5_DILATION is 4, and build_resnet_backbone takes 1 or 2"
    if of_deeplab and resnets.RES4_DILATION == 2 and resnets.RES5_DILATION != 4:
        yield (
            f"MODEL.RESNETS.RES4_DILATION is 2 and RES5_DILATION {resnets.RES5_DILATION}; set "
            "RES5_DILATION to 4"
        )
    if resnets.DEPTH < 50 and resnets.RES2_OUT_CHANNELS != 64:
        yield (
            f"MODEL.RESNETS.DEPTH is {resnets.DEPTH} and RES2_OUT_CHANNELS "
            f"{resnets.RES2_OUT_CHANNELS}; set RES2_OUT_CHANNELS to 64"
        )
    narrowest = resnets.STEM_OUT_CHANNELS // (2 if of_deeplab else 1)
    width = resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP
    if resnets.NORM == "GN" and any(n % 32 for n in (narrowest, resnets.RES2_OUT_CHANNELS, width)):
        yield (
            "MODEL.RESNETS.NORM is GN, which has 32 groups, and STEM_OUT_CHANNELS, "
            "RES2_OUT_CHANNELS or NUM_GROUPS times WIDTH_PER_GROUP is no multiple of them"
        )
    if not narrowest:
        yield "MODEL.RESNETS.STEM_OUT_CHANNELS is 1, and DeepLab's stem takes at least 2"


def _faults_of_solver(solver: CfgNode) -> Iterator[str]:
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR" and solver.BASE_LR_END > solver.BASE_LR:
        yield (
            f"SOLVER.BASE_LR_END is {solver.BASE_LR_END} and SOLVER.BASE_LR {solver.BASE_LR}; the "
            "rate falls, so give a BASE_LR_END of at most BASE_LR"
        )
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR" and not solver.BASE_LR:
        yield "SOLVER.BASE_LR is 0, and SOLVER.LR_SCHEDULER_NAME WarmupCosineLR divides by it"
    if solver.NESTEROV and not solver.MOMENTUM and solver.OPTIMIZER == "SGD":
        yield "SOLVER.NESTEROV is True and SOLVER.MOMENTUM 0; give a momentum above 0"
