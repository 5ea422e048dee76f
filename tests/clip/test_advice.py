import open_clip
import pytest
import torch

from ovseg_d2.clip import CLIPTower, LastBlock, local_feature_advice

PATCHES, DEPTH = "patches of 32x32 pixels", "has 24 blocks"
CLEARCLIP = LastBlock(residual="none", mlp=False, attention="qq")


@pytest.fixture
def published(tokenizer):
    """Give a function that builds a model of open_clip without its weights."""

    def build(name):
        with torch.device("meta"):
            model = open_clip.CLIP(**open_clip.get_model_config(name))
        return CLIPTower(model, tokenizer, (0.5,) * 3, (0.5,) * 3)

    return build


@pytest.mark.parametrize(
    ("name", "last_block", "expected"),
    [
        ("ViT-B-16", None, None),
        ("ViT-B-16", LastBlock(residual="class_token"), None),
        ("ViT-B-32", None, PATCHES),
        ("ViT-B-32", CLEARCLIP, PATCHES),
        ("ViT-L-14", None, DEPTH),
        ("ViT-L-14", LastBlock(residual="class_token"), DEPTH),
        ("ViT-L-14", LastBlock(attention="qq+kk"), DEPTH),
        ("ViT-L-14", CLEARCLIP, None),
        ("ViT-L-14", LastBlock(attention="full"), None),
        ("RN50", None, None),
        ("convnext_tiny", None, None),
    ],
)
def test_local_feature_advice_for_published_towers(published, name, last_block, expected):
    advice = local_feature_advice(published(name), last_block)
    if expected is None:
        assert advice is None
    else:
        assert expected in advice
        assert "ViT-B-16" in advice


def test_local_feature_advice_names_both_problems(build_tower):
    vision = {"patch_size": 32, "image_size": 64, "layers": 24}
    advice = local_feature_advice(build_tower(vision=vision))
    assert PATCHES in advice
    assert DEPTH in advice
    assert "LastBlock(residual='none', mlp=False, attention='qq')" in advice
