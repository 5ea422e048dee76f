"""The trained MaskFormer: OVSeg's rows start from it, and its proposals can be mined for pairs."""

from .jobs import Job

__all__ = ["trained_maskformer"]


def trained_maskformer(seed: int) -> Job:
    """The training of a seed; what it reports itself is of dev.

    Training knows no lambda. It stands here, so that choosing another does not train again.
    """
    return Job("training", "configs/ovseg.yaml", ("MODEL.OVSEG.LAMBDA", "0.5"), seed=seed)
