"""SAM's masks: the real generator on a tiny random model, and refused checkpoints."""

import numpy as np
import pytest
import torch
from segment_anything import build_sam, sam_model_registry

from ovseg_d2.masks import SamMasks, sam

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def build_tiny(checkpoint=None) -> torch.nn.Module:
    return build_sam.__globals__["_build_sam"](
        encoder_embed_dim=16,
        encoder_depth=1,
        encoder_num_heads=1,
        encoder_global_attn_indexes=[],
        checkpoint=checkpoint,
    )


@pytest.fixture
def tiny_sam(monkeypatch) -> torch.nn.Module:
    """A random SAM with a one-layer encoder, known as vit_b."""
    monkeypatch.setitem(sam_model_registry, "vit_b", build_tiny)
    monkeypatch.setitem(sam.SAM_MODELS, "vit_b", 16)
    return build_tiny()


class Generator:
    """A generator of two masks and an empty one."""

    def __init__(self, model, **options) -> None:
        self.options = options

    def generate(self, image: np.ndarray) -> list[dict]:
        small, large = np.zeros((2, *image.shape[:2]), dtype=bool)
        small[2, 3], large[5:, 5:] = True, True
        masks = (small, large, np.zeros_like(small))
        return [{"segmentation": mask, "area": int(mask.sum())} for mask in masks]


def test_sam_masks_are_sorted_and_not_empty(monkeypatch):
    monkeypatch.setattr("segment_anything.SamAutomaticMaskGenerator", Generator)
    masks = SamMasks(torch.nn.Identity(), points_per_side=4)(IMAGE)
    assert masks.dtype == bool
    assert masks.sum(axis=(1, 2)).tolist() == [19 * 35, 1]
    assert masks[1, 2, 3]


def test_sam_loads_a_checkpoint(tmp_path, tiny_sam):
    path = str(tmp_path / "sam.pth")
    torch.save(tiny_sam.state_dict(), path)
    options = {"points_per_side": 2, "pred_iou_thresh": -1e9, "stability_score_thresh": 0.0}
    for model in ("", "vit_b"):
        masks = SamMasks.load(checkpoint=path, model=model, **options)(IMAGE)
        assert masks.shape[1:] == (24, 40)
        assert masks.dtype == bool
        areas = masks.sum(axis=(1, 2))
        assert len(areas) > 0
        assert (areas > 0).all()
        assert (np.diff(areas) <= 0).all()


def refused(path, content, **options) -> str:
    torch.save(content, path)
    with pytest.raises(ValueError) as caught:
        SamMasks.load(checkpoint=str(path), **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "model" in options
    return str(caught.value)


def test_sam_refuses_other_checkpoints(tmp_path, tiny_sam):
    path = tmp_path / "sam.pth"
    of_vit_l = {"image_encoder.pos_embed": torch.zeros(1, 1, 1, 1024)}
    assert "is of vit_l and model is 'vit_h'; name the checkpoint's model" in refused(
        path, of_vit_l, model="vit_h"
    )
    assert "is unknown; choose one of vit_b, vit_l, vit_h" in refused(path, of_vit_l, model="vit_x")
    other = {"image_encoder.pos_embed": torch.zeros(1, 1, 1, 96)}
    assert "is of an image encoder 96 wide; give one of vit_b" in refused(path, other)
    assert "it holds no weights by name" in refused(path, {"a": 1})
    assert "it holds a list, not a state dict" in refused(path, [torch.zeros(2)])
    dino = {name: torch.zeros(1) for name in ("cls_token", "pos_embed", "blocks.0.weight")}
    assert (
        "is not a checkpoint of SAM: it has no image_encoder.pos_embed and is of a ViT"
        in refused(path, dino)
    )
    part = dict(list(tiny_sam.state_dict().items())[:10])
    part["image_encoder.pos_embed"] = torch.zeros(1, 64, 64, 16)
    assert "is not a complete SAM vit_b" in refused(path, part)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="it is a text that begins with 'no checkpoint'"):
        SamMasks.load(checkpoint=str(path))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="it is empty"):
        SamMasks.load(checkpoint=str(path))
    with pytest.raises(FileNotFoundError, match="there is no SAM checkpoint '.*none.pth'; downlo"):
        SamMasks.load(checkpoint=str(tmp_path / "none.pth"))


class Payload:
    """Runs code when unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_sam_runs_no_code_of_a_checkpoint(tmp_path):
    assert "it holds code" in refused(tmp_path / "sam.pth", {"a": Payload()})
