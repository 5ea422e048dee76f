"""The trained MaskFormer, from which OVSeg's rows start and whose proposals give pairs."""

from .jobs import Job

__all__ = ["trained_maskformer"]


def trained_maskformer(seed: int) -> Job:
    """The training of a seed, evaluated on dev.

    Training does not depend on lambda; it is fixed here so that another choice in the config does
    not train again.
    """
    return Job("training", "configs/ovseg.yaml", ("MODEL.OVSEG.LAMBDA", "0.5"), seed=seed)
