"""Warnings about towers with poor dense features, and about images a tower does not know."""

import hashlib
import os

from open_clip.transformer import VisionTransformer

from .last_block import LastBlock
from .tower import CLIPTower

_SHAPES_WORLD = "shapes://"  # prefix of the names of its images
# Bytes and SHA-256 of datasets/examples/shapes.png, an image of that world.
_EXAMPLE = (19663, "be1f89daa6c73cdd8650ab6c37670cb2d7c50a334a5c4f0cb868b6fea0776501")
_COARSE_PATCH = 32
_DEEP = 24  # blocks of a ViT-L


def local_feature_advice(tower: CLIPTower, last_block: LastBlock | None = None) -> str | None:
    """Return a warning if a tower is known for poor dense features.

    Sources: plain MaskCLIP on ViT-L falls to 30.1 mIoU on VOC-20 and 12.6 on Context-59 in the
    table of ClearCLIP, whose own last block (query-query, no residual, no MLP) avoids that; SCLIP's
    users report 22.6 mIoU on Cityscapes with ViT-B/32 and 12.4 with ViT-L/14 at 336 pixels, where
    its ViT-B/16 has 32.2.

    Args:
        tower: the tower.
        last_block: its last block; MaskCLIP's value path by default.

    Returns:
        A warning that names a better variant, or None. The baseline, "full" attention, gets no
        warning about its residual.
    """
    last_block = last_block or LastBlock()
    visual = tower.model.visual
    if not isinstance(visual, VisionTransformer):
        return None
    warnings = []
    if max(tower.patch_size) >= _COARSE_PATCH:
        warnings.append(
            f"this ViT has patches of {tower.patch_size[0]}x{tower.patch_size[1]} pixels, and such "
            "towers are known for poor dense features; choose ViT-B-16, with patches of 16 pixels."
        )
    depth = len(visual.transformer.resblocks)
    if depth >= _DEEP and last_block.residual != "none" and last_block.attention != "full":
        warnings.append(
            f"this ViT has {depth} blocks, and at this depth the last block's residual is "
            "known to hide local features; leave it and the MLP out, as ClearCLIP does with "
            "LastBlock(residual='none', mlp=False, attention='qq'), or choose ViT-B-16."
        )
    return " ".join(warnings) or None


def image_advice(tower: CLIPTower, name: str | os.PathLike[str]) -> str | None:
    """Return a warning if the tower is ShapesCLIP and the image is not of the Shapes world.

    Args:
        tower: the tower.
        name: file name of the image; "" if it has none.

    Returns:
        A warning that names a CLIP for photographs, or None; the example image of this project
        counts as one of the Shapes world.
    """
    name = os.fspath(name)
    if not tower.knows_shapes_only or name.startswith(_SHAPES_WORLD) or _is_example(name):
        return None
    return (
        f"{name or 'an image without a file name'} is not of the Shapes world, and ShapesCLIP "
        "knows only its coloured shapes, patterns and backgrounds: predictions may be meaningless "
        "(logged once); for photographs choose another CLIP: MODEL.CLIP.NAME "
        "ViT-B-16 MODEL.CLIP.PRETRAINED openai INPUT.MIN_SIZE_TEST 448, as in configs/photos.yaml"
    )


def _is_example(name: str) -> bool:
    size, digest = _EXAMPLE
    if not os.path.isfile(name) or os.path.getsize(name) != size:
        return False
    with open(name, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() == digest
