"""Mask prompt tuning: a CLIP tower that looks at masked crops.

Shape shorthand: B crops, N = h*w patches, C width of the tower, D joint embedding.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ovseg_d2.ops import patch_masks

from .tower import CLIPTower
from .vit import vit_tokens
from .vit_blocks import class_token_block, project, reads_class_token_alone, run_blocks
from .weights import load_weights, read_mask_prompts, read_weights

_INIT_STD = 0.02


class MaskPromptedTower(nn.Module):
    """A CLIP tower whose patches without foreground are learnt prompts.

    Paper: [ovseg] Sec. 3.3: the tokens that enter the transformer are T * M + P * (1 - M), with T
    the patches, M the mask of patches and P the prompts; deep prompts take those places again
    before each of the first ``depth`` blocks.
    Source: as in the official code, prompts enter before class token and position embedding, and
    deeper ones without any position.

    The tower is run, never changed or patched: its weights are those of other methods too, and
    without prompts it gives what `CLIPTower.encode_image` does. Patch dropout is not applied to
    crops whose patches are replaced.
    """

    def __init__(self, tower: CLIPTower, *, depth: int = 3) -> None:
        """Draw the prompts, N(0, 0.02), for the tower's own grid.

        Args:
            tower: used as it is, its parameters' gradient flags included.
            depth: blocks that prompts enter; 0 for none, which every tower knows.

        Raises:
            ValueError: a depth below 0 or of more blocks than there are; prompts for a tower
                that is no ViT.
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
                f"depth is {depth}; give 0 for no prompts, or up to the number of blocks"
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
        """Blocks that prompts enter."""
        return 0 if self.prompts is None else len(self.prompts)

    @property
    def crop_size(self) -> tuple[int, int]:
        """Pixels (h, w) of the crops: the tower's native size, in whole patches."""
        (grid_h, grid_w), (patch_h, patch_w) = self.tower.grid, self.tower.patch_size
        return grid_h * patch_h, grid_w * patch_w

    def encode_crops(
        self, crops: Tensor, masks: Tensor | None = None, *, unit_norm: bool = True
    ) -> Tensor:
        """Encode each crop as one vector.

        Args:
            crops: (B, 3, H, W) normalised; of `crop_size` where prompts are used.
            masks: (B, H, W) bool, or soft ones whose values above 0 are foreground; None uses no
                prompts, and without prompts masks are not looked at.
            unit_norm: False leaves the vectors at their own length.

        Returns:
            (B, D) float, unit norm.

        Raises:
            ValueError: prompts learnt for another grid of patches, or masks of another size.
        """
        if masks is None or self.prompts is None:
            return self.tower.encode_image(crops, unit_norm=unit_norm)
        if masks.shape != (len(crops), *crops.shape[-2:]):
            raise ValueError(
                f"masks {tuple(masks.shape)} for crops {tuple(crops.shape)}; give (B, H, W), one "
                "for each crop and of its size"
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
    """Load a mask-adapted CLIP: a tower's weights, and the prompts that were learnt with them.

    Args:
        tower: gets the weights, all of them or none; of the model that was adapted.
        path: a training checkpoint of `MaskAdaptedCLIP`, what tools/convert_weights.py has made of
            one, or a release of [ovseg]. Weights without prompts give a tower without any.

    Returns:
        The tower with prompts of the file's depth.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: weights of another model, or prompts for another grid of patches.
    """
    weights, _ = read_weights(path)
    prompts = read_mask_prompts(path)
    prompted = MaskPromptedTower(tower, depth=0 if prompts is None else len(prompts))
    own = prompted.prompts
    if prompts is not None and own is not None and prompts.shape != own.shape:
        raise ValueError(
            f"the mask prompts of {str(path)!r} are {tuple(prompts.shape)}, and this tower of "
            f"{tower.grid[0]} x {tower.grid[1]} patches and width {tower.width} takes "
            f"{tuple(own.shape)}; choose the model that they were learnt with"
        )
    load_weights(tower.model, weights, str(path))
    if prompts is not None and own is not None:
        own.data.copy_(prompts)
    return prompted


def vit_prompted(
    visual: VisionTransformer, images: Tensor, kept: Tensor, prompts: Tensor
) -> Tensor:
    """Encode each image as one vector, with prompts in the place of patches.

    Args:
        visual: the image tower.
        images: (B, 3, H, W) normalised, of N patches.
        kept: (B, N) bool, the patches that stay.
        prompts: (depth, N, C), of at most as many as there are blocks.

    Returns:
        (B, D) float, projected, not normalised.
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
