"""Models and backbones by registered names, and errors for unknown names."""

import pytest

from ovseg_d2.plugin import build_model
from ovseg_d2.plugin.registered import build_backbone


@pytest.mark.parametrize(
    ("name", "words"),
    [("nan", "choose of .*CLIPPretrain"), ("MaskClip", "similar names are MaskCLIP")],
)
def test_build_model_refuses_unknown_names(tiny_cfg, name, words):
    cfg = tiny_cfg("MODEL.META_ARCHITECTURE", name)
    with pytest.raises(ValueError, match=f"META_ARCHITECTURE '{name}' is not registered; {words}"):
        build_model(cfg)


@pytest.mark.parametrize(
    ("name", "words"),
    [("nan", "choose of .*build_resnet_backbone"), ("OVSegTim", "similar .*OVSegTimmBackbone")],
)
def test_build_backbone_refuses_unknown_names(tiny_cfg, name, words):
    cfg = tiny_cfg("MODEL.BACKBONE.NAME", name)
    with pytest.raises(ValueError, match=f"BACKBONE.NAME '{name}' is not registered; {words}"):
        build_backbone(cfg)


@pytest.mark.parametrize("kind", ["CLIPFineTune", "MaskCLIPPlus", "OVSeg"])
def test_models_refuse_unknown_backbones(tiny_cfg, kind):
    cfg = tiny_cfg("MODEL.META_ARCHITECTURE", kind, "MODEL.BACKBONE.NAME", "nan")
    with pytest.raises(ValueError, match="MODEL.BACKBONE.NAME 'nan' is not registered"):
        build_model(cfg)


@pytest.mark.parametrize(("window", "stride"), [(2, 0), (64, 1)])
def test_windows_finer_than_patches_are_refused(tiny_cfg, window, stride):
    values = ("MODEL.MASKCLIP.WINDOW", str(window), "MODEL.MASKCLIP.STRIDE", str(stride))
    with pytest.raises(ValueError, match="is finer than this tower's patches of .8, 8. pixels"):
        build_model(tiny_cfg(*values))
    assert build_model(tiny_cfg("MODEL.MASKCLIP.WINDOW", "8"))
