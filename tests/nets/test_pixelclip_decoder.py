"""`PixelCLIPDecoder`: shapes, independence of maps and the official numbers."""

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.nets import PixelCLIPDecoder


@pytest.fixture
def decoder() -> PixelCLIPDecoder:
    return PixelCLIPDecoder()


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4, 6), (1, 1, 1, 1), (4, 2, 2)])
def test_decoder_keeps_leading_axes_and_upsamples_four_times(decoder, shape):
    maps = torch.randn(shape)
    logits = decoder(maps)
    assert logits.shape == (*shape[:-2], 4 * shape[-2], 4 * shape[-1])


def test_decoder_resizes_bilinearly(decoder):
    maps = torch.randn(2, 3, 4, 5)
    expected = F.interpolate(decoder(maps), (21, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(decoder(maps, (21, 9)), expected)


def test_decoder_decodes_maps_independently(decoder):
    maps = torch.randn(2, 3, 4, 4)
    together = decoder(maps)
    for b in range(2):
        for p in range(3):
            torch.testing.assert_close(decoder(maps[b, p]), together[b, p], rtol=1e-4, atol=1e-5)


def test_decoder_has_gradients(decoder):
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    decoder(maps, (20, 20)).square().sum().backward()
    assert maps.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_decoder_has_the_official_number_of_weights(decoder):
    """2 tensors in the stem, 2 per transposed convolution, 6 per stage, 2 in the head."""
    assert len(list(decoder.parameters())) == 20
    by_hand = (9 * 64 + 64) + (4 * 64 * 64 + 64) + 2 * (9 * 64 * 64 + 2 * 64)
    by_hand += (4 * 64 * 32 + 32) + 2 * (9 * 32 * 32 + 2 * 32) + (9 * 32 + 1)
    assert sum(p.numel() for p in decoder.parameters()) == by_hand
    narrow = PixelCLIPDecoder(channels=(16, 16))
    assert narrow(torch.randn(2, 3, 3)).shape == (2, 12, 12)


@pytest.mark.parametrize("channels", [(64,), (64, 40), (0, 16), (64, 32, 16)])
def test_decoder_refuses_channels(channels):
    with pytest.raises(ValueError, match="give two multiples of 16"):
        PixelCLIPDecoder(channels=channels)


def test_decoder_with_another_width_of_the_stem():
    decoder = PixelCLIPDecoder(channels=(32, 16), stem_channels=5)
    assert (decoder.stem.out_channels, decoder.up1.in_channels) == (5, 5)
    assert decoder.up1.out_channels == 32
    assert decoder(torch.randn(2, 3, 3)).shape == (2, 12, 12)
    with pytest.raises(ValueError, match="stem_channels is 0; give at least 1"):
        PixelCLIPDecoder(stem_channels=0)


@pytest.mark.parametrize("subcase_id", ["square", "wide"])
def test_decoder_equals_the_official_one(parity, pixelclip_decoder_weights, subcase_id):
    case = parity("pixelclip_conv_head")
    decoder = PixelCLIPDecoder()
    decoder.load_state_dict(pixelclip_decoder_weights(case.weights))
    subcase = case.subcases[subcase_id]
    subcase.check("logits", decoder(subcase.inputs["x"]))
