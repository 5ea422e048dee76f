"""Mask prompts: their effect, loading, and official numbers."""

import pytest
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch.nn import functional as F

from ovseg_d2.clip import (
    CLIPTower,
    MaskPromptedTower,
    load_prompted_tower,
    read_clip,
    save_weights,
)


def _crops(count: int = 3, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    crops = torch.randn(count, 3, size, size)
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    for index in range(count):  # from a corner that grows
        masks[index, : 9 + 8 * index, : 5 + 8 * index] = True
    return crops, masks


def _by_hand(visual, crop, mask, prompts):
    """Encode one crop token by token, as the release does."""
    patches = F.conv2d(crop[None], visual.conv1.weight, visual.conv1.bias, stride=8)[0]
    grid = patches.shape[1]
    outside = [
        not mask[8 * (n // grid) : 8 * (n // grid) + 8, 8 * (n % grid) : 8 * (n % grid) + 8].any()
        for n in range(grid * grid)
    ]
    rows = [
        prompts[0][n] if outside[n] else patches[:, n // grid, n % grid] for n in range(grid**2)
    ]
    tokens = torch.stack([visual.class_embedding, *rows]) + visual.positional_embedding
    tokens = visual.ln_pre(tokens[None])
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        tokens = block(tokens)
        for n in range(grid * grid):
            if number < len(prompts) and outside[n]:
                tokens[0, 1 + n] = prompts[number][n]
    return visual.ln_post(tokens[0, 0]) @ visual.proj


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_encode_crops_equals_a_slow_computation(tower: CLIPTower, depth: int) -> None:
    prompted = MaskPromptedTower(tower, depth=depth)
    crops, masks = _crops()
    found = prompted.encode_crops(crops, masks, unit_norm=False)
    for crop, mask, row in zip(crops, masks, found, strict=True):
        expected = _by_hand(tower.model.visual, crop, mask, prompted.prompts)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_full_masks_change_nothing(tower: CLIPTower) -> None:
    prompted = MaskPromptedTower(tower, depth=2)
    crops, masks = _crops()
    full = torch.ones_like(masks)
    torch.testing.assert_close(prompted.encode_crops(crops, full), tower.encode_image(crops))
    assert torch.equal(prompted.encode_crops(crops), tower.encode_image(crops))
    moved = prompted.encode_crops(crops, masks) - tower.encode_image(crops)
    assert moved.norm(dim=1).min() > 1e-3


@torch.no_grad()
def test_masked_patches_have_no_effect(tower: CLIPTower) -> None:
    prompted = MaskPromptedTower(tower, depth=1)
    crops, masks = _crops(1)
    other = crops.clone()
    other[:, :, 16:] = 7.0  # the mask reaches into the second row of patches
    assert torch.equal(prompted.encode_crops(crops, masks), prompted.encode_crops(other, masks))


def test_training_prompts_changes_no_weight_of_the_tower(tower: CLIPTower) -> None:
    tower.requires_grad_(False)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    prompted = MaskPromptedTower(tower, depth=2)
    start = prompted.prompts.detach().clone()
    optimizer = torch.optim.AdamW(
        [p for p in prompted.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5
    )
    prompted.encode_crops(*_crops()).sum().backward()
    optimizer.step()
    after = tower.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (prompted.prompts - start).abs().amax(dim=(1, 2)).min() > 0.01


def test_prompts_start_normal_on_the_towers_grid(build_tower) -> None:
    tower = build_tower(vision={"image_size": 64})
    prompts = MaskPromptedTower(tower, depth=2).prompts
    assert prompts.shape == (2, 64, 32)
    assert prompts.std().item() == pytest.approx(0.02, rel=0.1)


def test_prompts_work_in_towers_that_pool_all_tokens(build_tower) -> None:
    tower = build_tower(vision={"pool_type": "avg"})
    crops, masks = _crops()
    found = MaskPromptedTower(tower, depth=2).encode_crops(crops, masks)
    assert found.shape == (3, 32)


@torch.no_grad()
def test_other_towers_work_without_prompts(build_tower, vision_kind) -> None:
    tower = build_tower(vision=vision_kind)
    prompted = MaskPromptedTower(tower, depth=0)
    crops, masks = _crops(2, prompted.crop_size[0])
    assert prompted.depth == 0
    assert prompted.crop_size == tower.image_size
    assert torch.equal(prompted.encode_crops(crops, masks), tower.encode_image(crops))
    if vision_kind:
        with pytest.raises(ValueError, match="depth 0, or a ViT"):
            MaskPromptedTower(tower, depth=1)


@pytest.mark.parametrize("depth", [-1, 3])
def test_prompts_refuse_a_bad_depth(tower: CLIPTower, depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth is {depth}"):
        MaskPromptedTower(tower, depth=depth)


def test_encode_crops_refuses_another_grid(tower: CLIPTower) -> None:
    prompted = MaskPromptedTower(tower, depth=1)
    with pytest.raises(ValueError, match=r"were made for \(4, 4\)"):
        prompted.encode_crops(*_crops(2, 48))
    crops, masks = _crops(2)
    with pytest.raises(ValueError, match="mask of the same size for each crop"):
        prompted.encode_crops(crops, masks[:1])


def _checkpoint(prompted: MaskPromptedTower) -> dict[str, object]:
    """A training checkpoint of MaskAdaptedCLIP."""
    state = {f"system.prompted.{k}": v for k, v in prompted.state_dict().items()}
    return {"model": state | {"system.log_scale": torch.zeros(())}, "iteration": 3}


def _release(prompted: MaskPromptedTower) -> dict[str, object]:
    """A checkpoint with the names of the official code of [ovseg]."""
    prefix = "clip_adapter.clip_model."
    state = {prefix + k: v for k, v in prompted.tower.model.state_dict().items()}
    return {"model": state | {f"{prefix}visual.mask_embedding": prompted.prompts.detach()}}


@torch.no_grad()
@pytest.mark.parametrize("pack", [_checkpoint, _release, None])
def test_load_prompted_tower_loads_weights_and_prompts(build_tower, tmp_path, pack) -> None:
    # OVSeg's CLIPs have QuickGELU, whatever tower they are loaded into.
    prompted = MaskPromptedTower(build_tower(quick_gelu=pack is _release), depth=2)
    path = tmp_path / ("weights.pth" if pack else "weights.safetensors")
    if pack:
        torch.save(pack(prompted), path)
    else:
        model, prompts = prompted.tower.model, prompted.prompts
        save_weights(model, path, dtype=torch.float32, mask_prompts=prompts)
    torch.manual_seed(7)
    tower = build_tower()
    loaded = load_prompted_tower(tower, path)
    assert loaded.tower is tower and loaded.depth == 2
    assert isinstance(loaded.prompts, torch.nn.Parameter)
    crops, masks = _crops(2)
    assert torch.equal(loaded.encode_crops(crops, masks), prompted.encode_crops(crops, masks))
    # The same file as a plain CLIP: its prompts are no weights of the tower.
    assert read_clip(path).weights.keys() == tower.model.state_dict().keys()


def test_load_prompted_tower_of_a_file_without_prompts(build_tower, tmp_path) -> None:
    prompted = MaskPromptedTower(build_tower(), depth=0)
    torch.save(_checkpoint(prompted), tmp_path / "weights.pth")
    tower = build_tower()
    loaded = load_prompted_tower(tower, tmp_path / "weights.pth")
    assert loaded.prompts is None
    assert torch.equal(tower.model.visual.proj, prompted.tower.model.visual.proj)


def test_load_prompted_tower_refuses_another_grid(build_tower, tmp_path) -> None:
    content = _checkpoint(MaskPromptedTower(build_tower(), depth=2))
    content["model"]["system.prompted.prompts"] = torch.zeros(2, 9, 32)
    torch.save(content, tmp_path / "weights.pth")
    torch.manual_seed(7)
    tower = build_tower()
    before = tower.model.visual.proj.clone()
    told = r"are \(2, 9, 32\), and this tower of 4 x 4 patches and width 32 takes \(2, 16, 32\)"
    with pytest.raises(ValueError, match=told):
        load_prompted_tower(tower, tmp_path / "weights.pth")
    assert torch.equal(tower.model.visual.proj, before)
    with pytest.raises(FileNotFoundError, match="no weight file"):
        load_prompted_tower(tower, tmp_path / "gone.pth")


@torch.no_grad()
@pytest.mark.parametrize(
    "subcase", ["binary_masks", "soft_masks", "no_masks", "binary_masks_more_heads"]
)
@pytest.mark.parametrize("case_name", ["ovseg_mask_prompt_vit_d1", "ovseg_mask_prompt_vit_d3"])
def test_parity_with_ovseg(parity, build_tower, case_name: str, subcase: str) -> None:
    case = parity(case_name)
    call, construct = case.subcases[subcase], case.construct
    tower = build_tower(embed_dim=construct["embed_dim"])
    tower.model.visual = VisionTransformer(
        image_size=construct["image_resolution"],
        patch_size=construct["patch_size"],
        width=construct["width"],
        layers=construct["layers"],
        heads=call.args["heads"],
        mlp_ratio=4.0,
        output_dim=construct["embed_dim"],
        act_layer=QuickGELU,
    ).eval()
    visual = {name.removeprefix("visual."): value for name, value in case.weights.items()}
    prompted = MaskPromptedTower(tower, depth=construct["mask_prompt_depth"])
    prompted.prompts.copy_(visual.pop("mask_embedding"))
    tower.model.visual.load_state_dict(visual)
    masks = call.inputs["mask"][:, 0] if "mask" in call.inputs else None
    call.check("features", prompted.encode_crops(call.inputs["image"], masks, unit_norm=False))
    if masks is not None:  # one mask alone, which the release cannot do
        one = prompted.encode_crops(call.inputs["image"][:1], masks[:1], unit_norm=False)
        torch.testing.assert_close(one, call.outputs["features"][:1], rtol=1e-3, atol=1e-4)
