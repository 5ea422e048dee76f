import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from ovseg_d2.nets import TimmFeatures, build_timm_features

# The smallest networks of timm with a pyramid, with channels last, with one stride, and with two
# conventions of padding.
NETWORKS = ("test_resnet", "test_convnext", "test_mambaout", "test_vit", "test_efficientnet")
SIZES = [(64, 96), (50, 101), (33, 17)]
# A narrow Swin of two stages, because the smallest of timm is large.
SWIN = "swin_tiny_patch4_window7_224"
NARROW = {"embed_dim": 12, "depths": (2, 2), "num_heads": (1, 2), "features_only": True}


def randomize(module):
    """Give all weights and statistics random values."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_timm_features_cover_the_image_only(name, size):
    net = build_timm_features(name).eval()
    maps = net(torch.randn(2, 3, *size))
    assert len(maps) == len(net.indices)
    for feats, channels, stride in zip(maps, net.channels, net.strides, strict=True):
        rows, columns = (-(-side // stride) for side in size)
        assert feats.shape == (2, channels, rows, columns)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_resnet", "test_mambaout", "test_vit"])
def test_timm_features_equal_timms(name):
    net = randomize(build_timm_features(name))
    dynamic = {"dynamic_img_size": True} if name == "test_vit" else {}
    network = timm.create_model(name, features_only=True, **dynamic).eval()
    network.load_state_dict(net.network.state_dict())
    images = torch.randn(2, 3, 64, 96)
    for feats, expected in zip(net(images), network(images), strict=True):
        if name == "test_mambaout":  # height, width, channels
            expected = expected.movedim(-1, 1)
        assert torch.equal(feats, expected)
    # An image that does not fill the strides is padded with zeros.
    small = images[..., :50, :71]
    padded = F.pad(small, (0, 80 - 71 if name == "test_vit" else 96 - 71, 0, 64 - 50))
    for feats, expected in zip(net(small), net(padded), strict=True):
        assert torch.equal(feats, expected[..., : feats.shape[-2], : feats.shape[-1]])


@pytest.mark.parametrize("name", [SWIN, "swinv2_tiny_window8_256"])
def test_timm_features_of_swin_take_any_size(name):
    with torch.device("meta"):
        net = build_timm_features(name)
        assert net.size_divisibility == 32
        maps = net(torch.zeros(1, 3, 227, 101))
    shapes = [(96, 57, 26), (192, 29, 13), (384, 15, 7), (768, 8, 4)]
    assert [tuple(feats.shape[1:]) for feats in maps] == shapes


@torch.no_grad()
@pytest.mark.parametrize("size", [(45, 71), (64, 32)])
def test_timm_features_of_swin_equal_a_network_of_that_size(size):
    options = {**NARROW, "out_indices": (0, 1)}
    net = randomize(TimmFeatures(timm.create_model(SWIN, strict_img_size=False, **options)))
    # Another instance, built for this size, padded to whole pixels of the second stage.
    height, width = (-(-side // 8) * 8 for side in size)
    fixed = {"img_size": (height, width), "window_size": 7, "always_partition": True}
    network = timm.create_model(SWIN, **fixed, **options).eval()
    network.load_state_dict(net.network.state_dict(), strict=False)
    images = torch.randn(1, 3, *size)
    expected = network(F.pad(images, (0, width - size[1], 0, height - size[0])))
    for feats, other, stride in zip(net(images), expected, net.strides, strict=True):
        assert feats.shape[-2:] == (-(-size[0] // stride), -(-size[1] // stride))
        other = other.permute(0, 3, 1, 2)[..., : feats.shape[-2], : feats.shape[-1]]
        torch.testing.assert_close(feats, other)


@torch.no_grad()
def test_timm_features_of_maxvit_pad_to_the_native_size():
    net = build_timm_features("test_maxvit", out_indices=(1,)).eval()
    assert (net.strides, net.size_divisibility) == ((4,), 160)
    assert net(torch.randn(1, 3, 50, 161))[0].shape[-2:] == (13, 41)
    assert net.network.training is False
    assert build_timm_features("test_maxvit", size_divisibility=480).size_divisibility == 480


def test_build_timm_features_returns_training_mode():
    assert build_timm_features("test_maxvit", out_indices=(0,)).network.training


def test_build_timm_features_out_indices():
    net = build_timm_features("test_resnet", out_indices=(1, -1))
    assert (net.indices, net.strides, net.channels) == ((1, 4), (4, 32), (32, 96))
    last = build_timm_features("test_vit", out_indices=(-1,))
    assert (last.indices, last.strides, last.size_divisibility) == ((5,), (16,), 16)
    for wrong in ((3, 1), (2, 2), (-1, 0)):
        with pytest.raises(
            ValueError, match=r"out_indices=.* not in the network's order of maps; sort"
        ):
            build_timm_features("test_resnet", out_indices=wrong)
    with pytest.raises(ValueError, match=r"cannot build 'test_resnet'.*other out_indices"):
        build_timm_features("test_resnet", out_indices=(9,))


@torch.no_grad()
def test_build_timm_features_in_channels():
    net = build_timm_features("test_convnext", in_channels=5).eval()
    assert net(torch.randn(1, 5, 32, 32))[0].shape == (1, 24, 8, 8)


def test_timm_features_have_gradients():
    net = build_timm_features("test_mambaout", out_indices=(0,))
    images = torch.randn(1, 3, 20, 30, requires_grad=True)
    net(images)[0].square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_timm_features_statistics():
    assert build_timm_features("test_resnet").mean == (0.5, 0.5, 0.5)
    with torch.device("meta"):
        net = build_timm_features("resnet18")
    assert net.mean == (0.485, 0.456, 0.406)
    assert net.std == (0.229, 0.224, 0.225)


# --- weights


@torch.no_grad()
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model_state_dict": state},
        lambda state: {"state_dict": {"fc.weight": torch.ones(1)}, "state_dict_ema": state},
        lambda state: {"weights": {f"backbone.{name}": value for name, value in state.items()}},
        lambda state: {f"module.backbone.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    ],
    ids=["bare", "state_dict", "model_state_dict", "ema", "backbone", "parallel", "compiled"],
)
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_build_timm_features_from_a_file(tmp_path, name, wrap):
    whole = randomize(timm.create_model(name, num_classes=7))
    path = tmp_path / "weights.pth"
    torch.save(wrap(whole.state_dict()), path)
    net = build_timm_features(name, pretrained=path, out_indices=(-1,)).eval()
    images = torch.randn(1, 3, 160, 160)
    expected = whole.forward_intermediates(images, intermediates_only=True)[-1]
    if name == "test_vit":
        expected = whole.forward_intermediates(images, intermediates_only=True, norm=False)[-1]
    torch.testing.assert_close(net(images)[0], expected)


def test_build_timm_features_refuses_files(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"none\.pth' is not a file; give a file of weights"
    ):
        build_timm_features("test_resnet", pretrained=str(tmp_path / "none.pth"))
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    with pytest.raises(ValueError, match=r"text\.pth': it is a text that begins with 'no weights'"):
        build_timm_features("test_resnet", pretrained=text)
    # timm accepts all of these but the last without an error.
    state = timm.create_model("test_resnet").state_dict()
    for number, wrong in enumerate(
        (
            {f"stage.{key}": value for key, value in state.items()},
            {},
            {"epoch": 3, "names": ["a"]},
        )
    ):
        path = tmp_path / f"{number}.pth"
        torch.save(wrong, path)
        words = r"it holds no weights by name" if number else r"holds 0 of the network's \d+ matric"
        with pytest.raises(ValueError, match=words):
            build_timm_features("test_resnet", pretrained=path)
    wider = timm.create_model("test_resnet", channels=(48, 32, 48, 64))
    torch.save(wider.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"cannot build 'test_resnet' .*other\.pth.*size mism"):
        build_timm_features("test_resnet", pretrained=tmp_path / "other.pth")


def test_build_timm_features_warns_of_a_missing_matrix(tmp_path, caplog):
    state = timm.create_model("test_resnet").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "gap.pth")
    build_timm_features("test_resnet", pretrained=tmp_path / "gap.pth")
    (message,) = [record.getMessage() for record in caplog.records if "nets" in record.name]
    assert message.endswith("or adapted: layer2.0.conv1.weight")


# --- bad input


def test_build_timm_features_refuses_unknown_names():
    with pytest.raises(ValueError, match=r"no network 'resnet51'; did you mean .*resnet50"):
        build_timm_features("resnet51")
    with pytest.raises(ValueError, match=r"no network '8zz'; timm\.list_models\('\*8zz\*'\)"):
        build_timm_features("8zz")
    with pytest.raises(ValueError, match=r"resnet18\.nowhere.*\(nowhere\).*choose other weights"):
        build_timm_features("resnet18.nowhere")


@pytest.mark.parametrize("size", [48, -32])
def test_timm_features_refuse_size_divisibility(size):
    network = timm.create_model("test_convnext", features_only=True)
    with pytest.raises(ValueError, match=rf"size_divisibility={size} is not a multiple of 32"):
        TimmFeatures(network, size_divisibility=size)


def test_timm_features_refuse_networks_without_padding():
    with torch.device("meta"):
        net = build_timm_features("inception_v3", out_indices=(0,))
        with pytest.raises(ValueError, match=r"\(29, 29\) instead of \(32, 32\).*choose another"):
            net(torch.zeros(1, 3, 64, 64))


def test_build_timm_features_output_stride_dilates():
    torch.manual_seed(0)
    plain = build_timm_features("resnet18")
    torch.manual_seed(0)
    dilated = build_timm_features("resnet18", output_stride=8)
    assert dilated.strides == (2, 4, 8, 8, 8) and dilated.channels == plain.channels
    maps = dilated.eval()(torch.rand(1, 3, 32, 40))
    assert [tuple(feats.shape[2:]) for feats in maps[2:]] == [(4, 5)] * 3
    # Dilation keeps the shapes of all weights.
    assert [v.shape for v in dilated.state_dict().values()] == [
        v.shape for v in plain.state_dict().values()
    ]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_build_timm_features_refuses_output_stride(name):
    with pytest.raises(ValueError, match="timm cannot (dilate|build)"):
        build_timm_features(name, output_stride=8 if "vit" in name else 5)
