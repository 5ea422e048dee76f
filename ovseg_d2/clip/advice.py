"""Which towers are known to be poor at saying what stands where, and at which images."""

import hashlib
import os

from open_clip.transformer import VisionTransformer

from .last_block import LastBlock
from .tower import CLIPTower

_SHAPES_WORLD = "shapes://"  # names of its images begin so
# Bytes and SHA-256 of datasets/examples/shapes.png, an image of that world.
_EXAMPLE = (19663, "be1f89daa6c73cdd8650ab6c37670cb2d7c50a334a5c4f0cb868b6fea0776501")
_COARSE_PATCH = 32
_DEEP = 24  # blocks of a ViT-L


def local_feature_advice(tower: CLIPTower, last_block: LastBlock | None = None) -> str | None:
    """Say what is wrong with a tower's dense features, where that is known.

    Sources: plain MaskCLIP on ViT-L falls to 30.1 mIoU on VOC-20 and 12.6 on Context-59 in the
    table of ClearCLIP, whose own last block (query-query, no residual, no MLP) avoids that; SCLIP's
    users report 22.6 mIoU on Cityscapes with ViT-B/32 and 12.4 with ViT-L/14 at 336 pixels, where
    its ViT-B/16 has 32.2.

    Args:
        tower: the tower.
        last_block: what its last block is going to do; MaskCLIP's value path by default.

    Returns:
        A warning that names the better variant, or None. "full" attention is the baseline and
        taken as wanted.
    """
    last_block = last_block or LastBlock()
    visual = tower.model.visual
    if not isinstance(visual, VisionTransformer):
        return None
    found = []
    if max(tower.patch_size) >= _COARSE_PATCH:
        found.append(
            f"this ViT has patches of {tower.patch_size[0]}x{tower.patch_size[1]} pixels, and such "
            "towers are known for poor dense features; take one with patches of 16, ViT-B-16."
        )
    depth = len(visual.transformer.resblocks)
    if depth >= _DEEP and last_block.residual != "none" and last_block.attention != "full":
        found.append(
            f"this ViT has {depth} blocks, and in towers as deep the last block's residual is "
            "known to drown what stands where; leave it and the MLP out, as ClearCLIP does with "
            "LastBlock(residual='none', mlp=False, attention='qq'), or take ViT-B-16."
        )
    return " ".join(found) or None


def image_advice(tower: CLIPTower, name: str | os.PathLike[str]) -> str | None:
    """Say that a tower does not know the kind of an image, where that is certain.

    Args:
        tower: the tower.
        name: file name of the image; "" for one without.

    Returns:
        A warning that says how to get a CLIP for photographs, or None: for every tower but
        ShapesCLIP, for images of the Shapes world and for the example of this project.
    """
    name = os.fspath(name)
    if not tower.knows_shapes_only or name.startswith(_SHAPES_WORLD) or _is_example(name):
        return None
    return (
        f"{name or 'an image without a file name'} is not of the Shapes world, and ShapesCLIP "
        "knows nothing else than its coloured shapes, patterns and grounds: the answer may mean "
        "nothing (this is said once); for photographs name a CLIP that knows them: MODEL.CLIP.NAME "
        "ViT-B-16 MODEL.CLIP.PRETRAINED openai INPUT.MIN_SIZE_TEST 448, as in configs/photos.yaml"
    )


def _is_example(name: str) -> bool:
    size, digest = _EXAMPLE
    if not os.path.isfile(name) or os.path.getsize(name) != size:
        return False
    with open(name, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest() == digest
