"""`TokenDecoder` and `PatchDecoder`."""

import pytest
import torch

from ovseg_d2.nets import PatchDecoder, TokenDecoder


def test_token_decoder_does_not_attend_to_padding():
    decoder = TokenDecoder(16, 9, num_layers=2, num_heads=4)
    tokens = torch.randn(2, 6, 16)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 4:] = True
    expected = decoder(tokens[:1, :4])
    changed = tokens.clone()
    changed[0, 4:] = 100 * torch.randn(2, 16)
    for sequences in (tokens, changed):
        decoded = decoder(sequences, padding)
        torch.testing.assert_close(decoded[:1, :4], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(decoder(tokens)[:1, :4], expected, atol=1e-3)


def test_token_decoder_depends_on_positions_and_all_tokens():
    torch.manual_seed(0)
    decoder = TokenDecoder(16, 5, num_layers=1, num_heads=2)
    with torch.no_grad():
        decoder.positional_embedding.normal_()
    tokens = torch.randn(1, 1, 16).expand(1, 5, 16).clone().requires_grad_()
    decoded = decoder(tokens)
    assert not torch.allclose(decoded[0, 0], decoded[0, 3], atol=1e-2)
    # A single channel, because the sum over channels is constant after the last norm.
    decoded[0, 0, 0].backward()
    assert (tokens.grad[0].abs().sum(dim=1) > 1e-5).all()


def test_decoders_have_num_layers():
    assert len(TokenDecoder(8, 4, num_layers=4, num_heads=2).layers.layers) == 4
    assert len(PatchDecoder(8, (2, 2), num_heads=2).decoder.layers.layers) == 1


def test_patch_decoder_puts_kept_patches_in_their_places():
    decoder = PatchDecoder(8, (2, 3), out_dim=5, num_heads=2)
    seen = {}
    decoder.decoder.register_forward_pre_hook(lambda _, args: seen.update(tokens=args[0]))
    tokens = torch.randn(2, 3, 8)
    kept_ids = torch.tensor([[1, 5], [0, 2]])
    assert decoder(tokens, kept_ids, (2, 3)).shape == (2, 6, 5)
    embedded = decoder.embed(tokens)
    for image in range(2):
        torch.testing.assert_close(seen["tokens"][image, 0], embedded[image, 0])
        for place in range(6):
            kept = kept_ids[image].tolist()
            expected = (
                embedded[image, 1 + kept.index(place)] if place in kept else decoder.hidden_token
            )
            torch.testing.assert_close(seen["tokens"][image, 1 + place], expected)


def test_patch_decoder_has_gradients():
    decoder = PatchDecoder(8, (2, 2), num_heads=2)
    decoder(torch.randn(2, 2, 8), torch.tensor([[0], [3]]), (2, 2)).square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert decoder.hidden_token.grad.abs().sum() > 0


def test_patch_decoder_refuses_another_grid():
    decoder = PatchDecoder(8, (2, 3), num_heads=2)
    with pytest.raises(ValueError, match="images of 3x2 patches for a decoder of 2x3; give train"):
        decoder(torch.randn(1, 2, 8), torch.tensor([[0]]), (3, 2))


def test_token_decoder_refuses_sizes():
    with pytest.raises(ValueError, match="num_heads=3 do not share dim=8"):
        TokenDecoder(8, 4, num_layers=1, num_heads=3)
    with pytest.raises(ValueError, match="num_layers=0; give at least 1"):
        TokenDecoder(8, 4, num_layers=0, num_heads=2)
    with pytest.raises(ValueError, match="sequences of 5 tokens for a decoder of 4 positions"):
        TokenDecoder(8, 4, num_layers=1, num_heads=2)(torch.randn(1, 5, 8))
