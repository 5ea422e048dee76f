"""Keys of training and evaluation: ``SOLVER`` and ``TEST``."""

from ..d2.config import CfgNode

__all__ = ["add_run_keys"]


def add_run_keys(cfg: CfgNode) -> None:
    """Add them to a config, in place."""
    # Read by engine.optimizer and engine.schedule.
    cfg.SOLVER.OPTIMIZER = "ADAMW"  # ADAMW | SGD
    cfg.SOLVER.BETAS = [0.9, 0.98]
    cfg.SOLVER.EPS = 1e-8
    # Weight decay of vectors, scalars, norms and embeddings, whatever they belong to; it takes the
    # place of detectron2's WEIGHT_DECAY_NORM and WEIGHT_DECAY_BIAS.
    cfg.SOLVER.WEIGHT_DECAY_VECTORS = 0.0
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_FLOOR = 0.0  # share of BASE_LR at which WarmupPolyLR ends
    # Pairs of a module's or parameter's name and what the learning rate below it is multiplied by,
    # such as ["system.decoder", 10.0]; of several that fit, the longest name counts.
    cfg.SOLVER.LR_MULTIPLIERS = []
    # Largest norm of all gradients together; 0 leaves them as they are. (detectron2's own
    # CLIP_GRADIENTS knows single parameters only, and works beside it.)
    cfg.SOLVER.MAX_GRAD_NORM = 0.0

    # What is evaluated: segmentation, or mask_crops, the classes of the truth's masks. Read by
    # engine.evaluate and data.loaders.
    cfg.TEST.TASK = "segmentation"
    # Read by engine.evaluate: also evaluate with each image's own words, that is with the classes
    # that its labels hold.
    cfg.TEST.OWN_WORDS = False
    # Weight of the squared norm in the regression of linear probes; of 0.0001 to 0.3 the best for
    # ShapesCLIP on dev. Read by engine.evaluate.
    cfg.TEST.PROBE_PENALTY = 0.1
    # Evaluate a ceiling in place of the model: "" | patch | gt_masks, the truth's masks with the
    # model's names | gt_labels, OVSeg's masks with the truth's names. Read by engine.evaluate.
    cfg.TEST.CEILING = ""
    # Evaluate OVSeg at these lambdas too, in one pass. Read by engine.evaluate.
    cfg.TEST.LAMBDAS = []
    # Evaluations use the first so many images of each dataset; 0 is all of them. Read by
    # data.loaders.
    cfg.TEST.MAX_IMAGES = 0
