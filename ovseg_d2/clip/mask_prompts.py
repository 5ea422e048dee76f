"""Mask prompt tuning: a CLIP tower for masked crops.

Shape shorthand: B crops, N = h*w patches, C width of the tower, D joint embedding.
"""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ovseg_d2.ops import patch_masks

from .layouts import read_clip
from .tower import CLIPTower
from .vit import vit_tokens
from .vit_blocks import class_token_block, project, reads_class_token_alone, run_blocks
from .weights import load_file

_INIT_STD = 0.02


class MaskPromptedTower(nn.Module):
    """A CLIP tower that replaces patches without foreground by learnt prompts.

    Paper: [ovseg] Sec. 3.3: the tokens that enter the transformer are T * M + P * (1 - M), with T
    the patches, M the mask of patches and P the prompts; deep prompts replace the same patches
    again before each of the first ``depth`` blocks.
    Source: as in the official code, prompts enter before class token and position embedding, and
    deeper ones without positions.

    The tower is not changed or patched, and its weights stay usable by other methods. Without
    prompts the result is that of `CLIPTower.encode_image`. Patch dropout is not applied to prompted
    crops.
    """

    def __init__(self, tower: CLIPTower, *, depth: int = 3) -> None:
        """Draw the prompts from N(0, 0.02) for the tower's native grid.

        Args:
            tower: unchanged, including the gradient flags of its parameters.
            depth: number of blocks that prompts enter; 0, no prompts, for towers other than a ViT.

        Raises:
            ValueError: a depth below 0 or above the number of blocks, or prompts for a tower other
                than a ViT.
        """
        super().__init__()
        visual = tower.model.visual
        if depth > 0 and not isinstance(visual, VisionTransformer):
            raise ValueError(
                f"mask prompts of depth {depth} replace a ViT's patch tokens, and the image tower "
                f"is a {type(visual).__name__}; choose depth 0, or a ViT"
            )
        most = len(visual.transformer.resblocks) if depth > 0 else 0
        if not 0 <= depth <= most:
            raise ValueError(
                f"depth is {depth}; give 0 for no prompts, or at most the number of blocks"
                + (f", {most} here" if depth > 0 else "")
            )
        self.tower = tower
        self.prompts: nn.Parameter | None = None
        if depth > 0:
            shape = (depth, tower.grid[0] * tower.grid[1], tower.width)
            prompts = torch.empty(shape, dtype=tower.dtype, device=tower.device)
            self.prompts = nn.Parameter(nn.init.normal_(prompts, std=_INIT_STD))

    @property
    def depth(self) -> int:
        """Number of blocks that prompts enter."""
        return 0 if self.prompts is None else len(self.prompts)

    @property
    def crop_size(self) -> tuple[int, int]:
        """Pixels (h, w) of crops: the tower's native size, in whole patches."""
        (grid_h, grid_w), (patch_h, patch_w) = self.tower.grid, self.tower.patch_size
        return grid_h * patch_h, grid_w * patch_w

    def encode_crops(
        self, crops: Tensor, masks: Tensor | None = None, *, unit_norm: bool = True
    ) -> Tensor:
        """Encode each crop as one vector.

        Args:
            crops: (B, 3, H, W) normalised; with prompts of `crop_size`.
            masks: (B, H, W) bool, or soft masks whose values above 0 are foreground; None uses no
                prompts. Ignored without prompts.
            unit_norm: False returns vectors that are not normalised.

        Returns:
            (B, D) float, unit norm.

        Raises:
            ValueError: the prompts are for another grid of patches, or masks of another size.
        """
        if masks is None or self.prompts is None:
            return self.tower.encode_image(crops, unit_norm=unit_norm)
        if masks.shape != (len(crops), *crops.shape[-2:]):
            raise ValueError(
                f"masks {tuple(masks.shape)} for crops {tuple(crops.shape)}; give (B, H, W), one "
                "mask of the same size for each crop"
            )
        kept = patch_masks(masks, self.tower.patch_size)
        if tuple(kept.shape[1:]) != tuple(self.tower.grid):
            raise ValueError(
                f"crops of {tuple(crops.shape[-2:])} pixels are {tuple(kept.shape[1:])} patches, "
                f"and the prompts were made for {tuple(self.tower.grid)}; resize crops to "
                f"crop_size, {self.crop_size}"
            )
        visual = self.tower.model.visual
        embeds = vit_prompted(visual, crops, kept.flatten(1), self.prompts)
        return F.normalize(embeds, dim=-1) if unit_norm else embeds


def load_prompted_tower(tower: CLIPTower, path: Path) -> MaskPromptedTower:
    """Load a mask-adapted CLIP: a tower's weights and its mask prompts.

    Args:
        tower: of the adapted model; its weights are replaced, or none after an error. Activation
            and statistics become those of the file, if it tells them and the user has not set them.
        path: a training checkpoint of `MaskAdaptedCLIP`, its conversion by
            tools/convert_weights.py, a release of [ovseg], or another file of `read_clip`. The file
            may have no prompts, and an image half alone leaves the tower's text half.

    Returns:
        The tower with prompts of the file's depth.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: weights of another model, or prompts for another grid of patches.
    """
    file = read_clip(path)
    prompts = file.prompts
    prompted = MaskPromptedTower(tower, depth=0 if prompts is None else len(prompts))
    own = prompted.prompts
    if prompts is not None and own is not None and prompts.shape != own.shape:
        raise ValueError(
            f"the mask prompts of {str(path)!r} are {tuple(prompts.shape)}, and this tower of "
            f"{tower.grid[0]} x {tower.grid[1]} patches and width {tower.width} takes "
            f"{tuple(own.shape)}; choose the model that they were trained with"
        )
    load_file(tower, replace(file, prompts=None), key="the mask-adapted CLIP")
    if prompts is not None and own is not None:
        own.data.copy_(prompts)
    return prompted


def vit_prompted(
    visual: VisionTransformer, images: Tensor, kept: Tensor, prompts: Tensor
) -> Tensor:
    """Encode images (B, 3, H, W), with prompts (depth, N, C) in place of patches not in ``kept``.

    ``kept`` is (B, N) bool. The result is (B, D) float, projected, not normalised.
    """

    def mixed(patches: Tensor, depth: int) -> Tensor:
        return torch.where(kept[..., None], patches, prompts[depth].to(patches.dtype))

    tokens, _ = vit_tokens(visual, images, lambda patches: mixed(patches, 0))
    *blocks, last = visual.transformer.resblocks
    for depth, block in enumerate(blocks, start=1):
        tokens = run_blocks(visual, tokens, [block])
        if depth < len(prompts):
            tokens = torch.cat([tokens[:, :1], mixed(tokens[:, 1:], depth)], dim=1)
    if reads_class_token_alone(visual):
        tokens = class_token_block(last, tokens)
    else:
        tokens = run_blocks(visual, tokens, [last])
    pooled, _ = visual._pool(tokens)
    return project(visual, pooled)
