"""Options of a mask source, read from a config."""

from typing import Any

from ..d2.config import CfgNode

__all__ = ["mask_options"]


def mask_options(cfg: CfgNode, name: str) -> dict[str, Any]:
    """Return the options of ``masks.build_mask_source`` for one source.

    Args:
        cfg: holds ``INPUT.MASKS``, ``MODEL.OVSEG.SAM_CHECKPOINT``, ``MODEL.DEVICE`` (for SAM) and
            ``SEED`` (for DINO's k-means).
        name: of the source; one without config keys gets no options.

    Raises:
        ValueError: the checkpoint or folder that the source needs is not set.
    """
    masks = cfg.INPUT.MASKS
    if name == "felzenszwalb":
        keys = masks.FELZENSZWALB
        return {"scale": keys.SCALE, "sigma": keys.SIGMA, "min_size": keys.MIN_SIZE}
    if name == "dino":
        return {
            "model": masks.DINO.MODEL,
            "weights": masks.DINO.WEIGHTS,
            "num_clusters": masks.DINO.NUM_CLUSTERS,
            "size": masks.DINO.SIZE,
            "seed": max(cfg.SEED, 0),
        }
    if name == "sam":
        if not cfg.MODEL.OVSEG.SAM_CHECKPOINT:
            raise ValueError(
                "the mask source sam needs weights; set MODEL.OVSEG.SAM_CHECKPOINT to a file of "
                "SAM's authors"
            )
        return {"checkpoint": cfg.MODEL.OVSEG.SAM_CHECKPOINT, "device": cfg.MODEL.DEVICE}
    if name == "stored":
        if not masks.FOLDER:
            raise ValueError(
                "the mask source stored needs masks; set INPUT.MASKS.FOLDER to the output folder "
                "of tools/generate_masks.py"
            )
        return {"folder": masks.FOLDER}
    return {}
