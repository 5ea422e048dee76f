import pytest
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from ovseg_d2.clip.image_tower import image_tower_kind


def test_image_tower_kind_by_class(build_model, vision_kind):
    visual = build_model(vision=vision_kind).visual
    kind = image_tower_kind(visual)
    geometry = kind.geometry(visual)
    images = torch.randn(2, 3, *geometry.image_size)
    assert kind.encode(visual, images).shape == (2, geometry.embed_dim)


def test_image_tower_kind_of_derived_classes(build_model):
    visual = build_model().visual
    kind = image_tower_kind(visual)
    visual.__class__ = type("Derived", (type(visual),), {})
    assert image_tower_kind(visual) is kind


def test_image_tower_kind_refuses_unknown_classes():
    message = "is a Conv2d, and .* VisionTransformer, ModifiedResNet, TimmModel; choose a ViT"
    with pytest.raises(ValueError, match=message):
        image_tower_kind(nn.Conv2d(3, 4, 1))


def test_image_tower_kind_refuses_other_trunks_of_timm():
    visual = TimmModel("test_vit_relpos", 16, 160, pool="avg", proj="linear")
    message = (
        "is timm's VisionTransformerRelPos, .* ConvNeXt, FastVit, VisionTransformer, Eva; choose"
    )
    with pytest.raises(ValueError, match=message):
        image_tower_kind(visual)
