"""`ProposalHead`: the official numbers, masks, gradients and errors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ovseg_d2.checkpoints import convert_proposal_head
from ovseg_d2.nets import PixelDecoder, ProposalHead, TransformerDecoder, proposal_head_parts

LEVELS = ("res2", "res3", "res4", "res5")


def tiny_head(**options: Any) -> ProposalHead:
    sizes = {"conv_channels": 32, "mask_channels": 6, "dim": 8, "num_queries": 5, "num_layers": 2}
    sizes |= {"num_heads": 2, "hidden_dim": 16, "query_hidden_dim": 12}
    return ProposalHead(**proposal_head_parts((3, 4, 5), 7, **{**sizes, **options}))


def maps(batch: int = 2) -> list[torch.Tensor]:
    return [
        torch.randn(batch, channels, *size)
        for channels, size in zip((3, 4, 5), [(12, 9), (6, 5), (3, 3)], strict=True)
    ]


def official_head(case: Any) -> ProposalHead:
    """Build a head with the sizes of a parity case."""
    about = case.construct
    head = ProposalHead(
        **proposal_head_parts(
            about["in_channels"],
            about.get("embedding_dim", 1),
            conv_channels=about["convs_dim"],
            mask_channels=about["mask_dim"],
            dim=about["hidden_dim"],
            num_queries=about["num_queries"],
            num_layers=about["dec_layers"],
            encoder_layers=about["transformer_enc_layers"],
            num_heads=about["nheads"],
            hidden_dim=about["dim_feedforward"],
            query_hidden_dim=about.get("embed_hidden_dim", 1),
        )
    )
    if about["head"] == "MaskFormerHead":  # class scores in place of embeddings
        head.query_network = nn.Linear(about["hidden_dim"], about["num_classes"] + 1)
    return head.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "subcase_id"),
    [
        ("maskformer_head", "square"),
        ("maskformer_head", "odd"),
        ("maskformer_head_encoder", "odd"),
        ("ovseg_proposal_head", "square"),
        ("ovseg_proposal_head", "odd"),
    ],
)
def test_proposal_head_equals_the_official_one(
    parity: Callable[[str], Any],
    name: str,
    subcase_id: str,
) -> None:
    case = parity(name)
    head = official_head(case)
    head.load_state_dict(convert_proposal_head(case.weights))
    call = case.subcases[subcase_id]
    feats = [call.inputs[level] for level in LEVELS]
    mask_feats, memory = head.pixel_decoder(feats)
    call.check("mask_features", mask_feats)
    if "transformer_encoder_features" in call.outputs:
        call.check("transformer_encoder_features", memory)
    else:
        assert memory is feats[-1]
    earlier, last = head(feats, all_layers=True)
    call.check("aux.0.pred_logits", earlier.query_feats)
    call.check("aux.0.pred_masks", earlier.mask_logits)
    call.check("pred_logits", last.query_feats)
    call.check("pred_masks", last.mask_logits)


@torch.no_grad()
def test_proposal_head_last_layer_is_the_last_of_all() -> None:
    head, feats = tiny_head(num_layers=3).eval(), maps()
    every = head(feats, all_layers=True)
    (last,) = head(feats)
    assert len(every) == 3
    assert torch.equal(last.query_feats, every[-1].query_feats)
    assert torch.equal(last.mask_logits, every[-1].mask_logits)
    assert not torch.equal(every[0].mask_logits, every[1].mask_logits)


@torch.no_grad()
def test_proposal_head_runs_images_independently() -> None:
    head, feats = tiny_head().eval(), maps(2)
    (both,) = head(feats)
    assert both.query_feats.shape == (2, 5, 7)
    assert both.mask_logits.shape == (2, 5, 12, 9)
    (second,) = head([level[1:] for level in feats])
    torch.testing.assert_close(both.mask_logits[1:], second.mask_logits)
    torch.testing.assert_close(both.query_feats[1:], second.query_feats)


@torch.no_grad()
def test_proposal_head_masks_are_products_with_mask_features() -> None:
    head, feats = tiny_head().eval(), maps(1)
    (proposals,) = head(feats)
    mask_feats, memory = head.pixel_decoder(feats)
    weights = head.mask_network(head.transformer_decoder(memory)[0])
    for query, row, column in [(0, 0, 0), (3, 11, 8), (4, 5, 2)]:
        expected = sum(
            float(a * b)
            for a, b in zip(weights[0, query], mask_feats[0, :, row, column], strict=True)
        )
        value = proposals.mask_logits[0, query, row, column].item()
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_proposal_head_has_gradients() -> None:
    for options in ({}, {"encoder_layers": 1}, {"memory_layers": 1, "norm_first": True}):
        head = tiny_head(**options)
        layers = head(maps(), all_layers=True)
        sum(p.query_feats.sum() + p.mask_logits.square().sum() for p in layers).backward()
        grads = {name: parameter.grad for name, parameter in head.named_parameters()}
        assert [name for name, grad in grads.items() if grad is None] == []
        # Queries start as zeros, so the first self-attention has no gradient, nor a norm of them.
        zero = [name for name, grad in grads.items() if not grad.any()]
        first = ("self_attention", "cross_attention.norm" if "norm_first" in options else "self_")
        first = tuple(f"transformer_decoder.layers.0.{part}" for part in first)
        assert [name for name in zero if not name.startswith(first)] == []


def test_proposal_head_of_one_map() -> None:
    head = ProposalHead(
        **proposal_head_parts(
            [5], 7, conv_channels=32, dim=8, num_heads=2, num_queries=3, num_layers=1
        )
    )
    (proposals,) = head([torch.randn(1, 5, 4, 6)])
    assert proposals.mask_logits.shape == (1, 3, 4, 6)


def official_names(head: ProposalHead) -> dict[str, torch.Tensor]:
    """The transformers' weights under the names of MaskFormer's release."""
    parts = {"self_attention.attention": "self_attn", "cross_attention.attention": "multihead_attn"}
    parts |= {"feed_forward.hidden": "linear1", "feed_forward.out": "linear2"}
    parts |= {"self_attention.norm": "norm1", "cross_attention.norm": "norm2"}
    names = {}
    for name, value in head.transformer_decoder.state_dict().items():
        for ours, theirs in parts.items():
            name = name.replace(ours, theirs)
        name = name.replace("feed_forward.norm", "norm2" if "encoder" in name else "norm3")
        part, _, rest = name.partition(".")
        if part == "encoder":
            name = f"transformer.encoder.{rest}"
        elif part in ("layers", "norm"):
            name = f"transformer.decoder.{name}"
        else:
            name = name.replace("project", "input_proj").replace("query_positions", "query_embed")
        names[name] = value
    return names


@torch.no_grad()
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("layers", [0, 2])
def test_transformer_options_equal_torchs_layers(
    monkeypatch: pytest.MonkeyPatch, layers: int, norm_first: bool
) -> None:
    """Without positions, which torch's layers do not add."""
    for module in ("transformer_decoder", "transformer_encoder"):
        monkeypatch.setattr(
            f"ovseg_d2.nets.{module}.sine_positions",
            lambda size, dim, device: torch.zeros(dim, *size),
        )
    head = tiny_head(memory_layers=layers, norm_first=norm_first).eval()
    decoder = head.transformer_decoder
    for parameter in decoder.parameters():
        parameter.normal_(std=0.3)
    decoder.query_positions.weight.zero_()
    weights = {f"predictor.{name}": value for name, value in official_names(head).items()}
    assert set(convert_proposal_head(weights)) == {
        f"transformer_decoder.{name}" for name in decoder.state_dict()
    }
    sizes = {"dim_feedforward": 16, "batch_first": True, "norm_first": norm_first}
    memory = torch.randn(2, 5, 3, 4)
    tokens = decoder.project(memory).flatten(2).transpose(1, 2)
    for number in range(layers):
        layer = nn.TransformerEncoderLayer(8, 2, **sizes).eval()
        prefix = f"predictor.transformer.encoder.layers.{number}."
        layer.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if prefix in k})
        tokens = layer(tokens)
    if norm_first:
        tokens = decoder.encoder.norm(tokens)
    queries = torch.zeros(2, 5, 8)
    for number in range(2):
        layer = nn.TransformerDecoderLayer(8, 2, **sizes).eval()
        prefix = f"predictor.transformer.decoder.layers.{number}."
        layer.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if prefix in k})
        queries = layer(queries, tokens)
    (actual,) = decoder(memory)
    torch.testing.assert_close(actual, decoder.norm(queries), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pixel_decoder_norms_first_too() -> None:
    encoder = tiny_head(encoder_layers=1, norm_first=True).pixel_decoder.encoder.eval()
    for block in (encoder.layers[0].self_attention, encoder.layers[0].feed_forward):
        assert block.norm_first
        for parameter in block.parameters():
            parameter.zero_()  # blocks that add nothing
    feats = torch.randn(1, 5, 3, 3)
    expected = encoder.norm(encoder.project(feats).movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(encoder(feats), expected)


def test_transformer_decoder_projects_on_demand() -> None:
    decoder = TransformerDecoder(8, dim=8, num_heads=2, always_project=True)
    assert decoder.project.weight.shape == (8, 8, 1, 1)


def test_transformer_decoder_projects_only_another_width() -> None:
    assert isinstance(tiny_head().transformer_decoder.project, nn.Conv2d)
    assert isinstance(TransformerDecoder(8, dim=8, num_heads=2).project, nn.Identity)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tiny_head(num_heads=3), "num_heads=3 do not share dim=8"),
        (lambda: tiny_head(dim=6), "channels=6; give a multiple of 4"),
        (lambda: tiny_head(conv_channels=40), "conv_channels=40 are not shared by num_groups=32"),
        (lambda: tiny_head(num_queries=0), "num_queries=0"),
        (lambda: tiny_head(num_layers=0), "num_layers=0"),
        (lambda: PixelDecoder([]), "channels are empty"),
    ],
)
def test_proposal_head_refuses_sizes(make: Callable[[], ProposalHead], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()(maps())


@pytest.mark.parametrize(
    "wrong", [lambda m: m[:2], lambda m: m[::-1], lambda m: [m[0][..., :2, :2], *m[1:]]]
)
def test_proposal_head_refuses_maps(wrong: Callable[[list[torch.Tensor]], list[Any]]) -> None:
    with pytest.raises(ValueError, match=r"give maps of \(3, 4, 5\) channels, the finest first"):
        tiny_head()(wrong(maps()))
