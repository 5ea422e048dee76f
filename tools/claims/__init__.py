"""The rows of the tables in docs/results.md, as jobs that can be resumed."""

from .jobs import Job, JobError, run_jobs
from .mask_adapted_clip import mask_adapted_clip_claim
from .maskclip import corruptions_claim, maskclip_claim
from .maskclip_plus import maskclip_plus_claim
from .masked_distill_clip import masked_distill_clip_claim
from .ovseg import lambda_claim, oracles_claim, ovseg_claim
from .pixelclip import pixelclip_ablations_claim, pixelclip_claim
from .plan import describe_trainings
from .tables import Claim, format_table

CLAIMS = {
    "corruptions": corruptions_claim,
    "mask_adapted_clip": mask_adapted_clip_claim,
    "maskclip": maskclip_claim,
    "maskclip_plus": maskclip_plus_claim,
    "masked_distill_clip": masked_distill_clip_claim,
    "ovseg": ovseg_claim,
    "ovseg_lambda": lambda_claim,
    "ovseg_oracles": oracles_claim,
    "pixelclip": pixelclip_claim,
    "pixelclip_ablations": pixelclip_ablations_claim,
}

__all__ = ["CLAIMS", "Claim", "Job", "JobError", "describe_trainings", "format_table", "run_jobs"]
