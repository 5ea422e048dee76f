"""``detectron2.data.datasets``: pairing a folder of images with one of label maps."""

import logging
import os

from ..utils.file_io import PathManager

__all__ = ["load_sem_seg"]

_logger = logging.getLogger("detectron2.data.datasets.coco")


def _list_stems(root: str, ext: str) -> list[str]:
    return sorted(name.removesuffix(ext) for name in PathManager.ls(root) if name.endswith(ext))


def load_sem_seg(
    gt_root: str, image_root: str, gt_ext: str = "png", image_ext: str = "jpg"
) -> list[dict[str, str]]:
    """List images with their label maps, matched by file name; opens none of the files.

    Args:
        gt_root: folder of label maps, one integer label a pixel. Subfolders are not searched.
        image_root: folder of images.
        gt_ext: ending of the label maps' names.
        image_ext: ending of the images' names.

    Returns:
        Dicts with ``file_name`` and ``sem_seg_file_name``, sorted by name. Where the folders do
        not hold the same names, their intersection (with a warning).

    Raises:
        AssertionError: no label maps in ``gt_root``.
    """
    image_stems = _list_stems(image_root, image_ext)
    gt_stems = _list_stems(gt_root, gt_ext)
    assert gt_stems, f"No annotations found in {gt_root}."
    if image_stems != gt_stems:
        _logger.warning(
            "Directory %s and %s has %d and %d files, respectively.",
            image_root,
            gt_root,
            len(image_stems),
            len(gt_stems),
        )
        image_stems = sorted(set(image_stems) & set(gt_stems))
        _logger.warning("Will use their intersection of %d files.", len(image_stems))
    _logger.info(
        "Loaded %d images with semantic segmentation from %s", len(image_stems), image_root
    )
    return [
        {
            "file_name": os.path.join(image_root, stem + image_ext),
            "sem_seg_file_name": os.path.join(gt_root, stem + gt_ext),
        }
        for stem in image_stems
    ]
