"""Pure tensor functions: no modules, no state, device and dtype from the inputs."""

from ovseg_d2.ops.background import (
    Background,
    background_by_threshold,
    filter_small_areas,
    find_background,
    merge_background,
)
from ovseg_d2.ops.crops import (
    CropOptions,
    MaskFill,
    binarize_masks,
    cut_regions,
    expand_boxes,
    fill_background,
    mask_boxes,
    resize_regions,
)
from ovseg_d2.ops.dense import dense_argmax, upsample_scores
from ovseg_d2.ops.ema import update_ema
from ovseg_d2.ops.kmeans import KMeans, kmeans
from ovseg_d2.ops.labels import class_shares, size_remedy, split_labels
from ovseg_d2.ops.lambda_ensemble import class_lambdas, lambda_ensemble
from ovseg_d2.ops.mask_fusion import fuse_masks, fused_bands
from ovseg_d2.ops.mask_targets import location_weights, merge_masks, resize_masks
from ovseg_d2.ops.overlap import overlap_labels
from ovseg_d2.ops.patch_masks import patch_masks
from ovseg_d2.ops.patch_pixels import patch_pixels
from ovseg_d2.ops.pooling import pool_masks
from ovseg_d2.ops.precision import at_least_float32
from ovseg_d2.ops.pseudo_labels import UNLABELLED, check_ignore, check_labels, fill_unlabelled
from ovseg_d2.ops.random_masks import (
    check_mask_ratio,
    draw_patch_masks,
    draw_word_masks,
    unmasked_ids,
)
from ovseg_d2.ops.refine import (
    REMOVED_SCORE,
    Refinement,
    denoise_prompts,
    refine_scores,
    smooth_by_keys,
)
from ovseg_d2.ops.sinkhorn import Assignment, assign_clusters, gather_rows, sinkhorn
from ovseg_d2.ops.synonyms import max_over_words
from ovseg_d2.ops.windows import average_windows, score_bands, window_boxes

__all__ = [
    "REMOVED_SCORE",
    "UNLABELLED",
    "Assignment",
    "Background",
    "CropOptions",
    "KMeans",
    "MaskFill",
    "Refinement",
    "assign_clusters",
    "at_least_float32",
    "average_windows",
    "background_by_threshold",
    "binarize_masks",
    "check_ignore",
    "check_labels",
    "check_mask_ratio",
    "class_lambdas",
    "class_shares",
    "cut_regions",
    "denoise_prompts",
    "dense_argmax",
    "draw_patch_masks",
    "draw_word_masks",
    "expand_boxes",
    "fill_background",
    "fill_unlabelled",
    "filter_small_areas",
    "find_background",
    "fuse_masks",
    "fused_bands",
    "gather_rows",
    "kmeans",
    "lambda_ensemble",
    "location_weights",
    "mask_boxes",
    "max_over_words",
    "merge_background",
    "merge_masks",
    "overlap_labels",
    "patch_masks",
    "patch_pixels",
    "pool_masks",
    "refine_scores",
    "resize_masks",
    "resize_regions",
    "score_bands",
    "sinkhorn",
    "size_remedy",
    "smooth_by_keys",
    "split_labels",
    "unmasked_ids",
    "update_ema",
    "upsample_scores",
    "window_boxes",
]
