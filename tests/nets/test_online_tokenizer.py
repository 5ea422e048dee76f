"""`OnlineTokenizer`."""

import pytest
import torch

from ovseg_d2.nets import OnlineTokenizer


@pytest.mark.parametrize("hidden_dim", [0, 12])
def test_online_tokenizer_returns_cosines_with_the_codes(hidden_dim):
    tokenizer = OnlineTokenizer(6, 7, hidden_dim=hidden_dim, code_dim=4)
    feats = torch.randn(3, 5, 6)
    cosines = tokenizer(feats)
    assert cosines.shape == (3, 5, 7)
    projected = tokenizer.project(feats)
    for code in range(7):
        expected = torch.cosine_similarity(projected, tokenizer.codes[code].expand(3, 5, 4), dim=-1)
        torch.testing.assert_close(cosines[..., code], expected)
    assert sum(isinstance(m, torch.nn.Linear) for m in tokenizer.project) == 1 + bool(hidden_dim)


def test_online_tokenizer_has_gradients():
    tokenizer = OnlineTokenizer(6, 7, hidden_dim=8, code_dim=4)
    tokenizer(torch.randn(9, 6)).square().sum().backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_online_tokenizer_refuses_one_code():
    with pytest.raises(ValueError, match="num_codes=1; give at least 2"):
        OnlineTokenizer(6, 1)
