"""p^(1 - lambda) q^lambda: worked values, both ends and the official numbers."""

import math

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.ops import class_lambdas, fuse_masks, lambda_ensemble

_ALL = torch.tensor([True, True])


def test_lambda_ensemble_worked_by_hand() -> None:
    p = torch.tensor([[0.25, 0.5], [0.16, 0.0]])
    q = torch.tensor([[0.81, 0.5], [0.9, 0.9]])
    mixed = lambda_ensemble(p, q, torch.tensor([True, False]), 0.5)
    # sqrt(.25 * .81), sqrt(.5 * .5); sqrt(.16 * 1), sqrt(0) for the mask without CLIP.
    torch.testing.assert_close(mixed, torch.tensor([[0.45, 0.5], [0.4, 0.0]]))


def test_lambda_ensemble_of_0_and_1() -> None:
    p = torch.tensor([[0.0, 0.7], [0.2, 0.3]])
    q = torch.tensor([[0.6, 0.0], [0.5, 0.4]])
    assert torch.equal(lambda_ensemble(p, q, _ALL, 0.0), p)
    assert torch.equal(lambda_ensemble(p, q, _ALL, 1.0), q)


def test_lambda_ensemble_official_0_is_clip_alone() -> None:
    p, q = torch.rand(2, 3), torch.rand(2, 3)
    mixed = lambda_ensemble(p, q, torch.tensor([False, True]), 0.0, official=True)
    assert torch.equal(mixed, torch.stack([torch.zeros(3), q[1]]))


def test_lambda_ensemble_never_reads_invalid_rows() -> None:
    q = torch.full((2, 3), math.nan)
    p = torch.rand(2, 3)
    assert torch.equal(lambda_ensemble(p, q, ~_ALL, 0.0), p)
    assert not lambda_ensemble(p, q, ~_ALL, 0.4).isnan().any()


def test_class_lambdas() -> None:
    seen = torch.tensor([True, False, True])
    lambdas = class_lambdas(seen, 0.25, 1.0)
    p, q = torch.rand(2, 3), torch.rand(2, 3)
    mixed = lambda_ensemble(p, q, _ALL, lambdas)
    torch.testing.assert_close(mixed[:, 1], q[:, 1])
    torch.testing.assert_close(mixed[:, 0], p[:, 0] ** 0.75 * q[:, 0] ** 0.25)


def test_lambda_ensemble_of_one_class_or_no_mask() -> None:
    assert lambda_ensemble(torch.rand(2, 1), torch.rand(2, 1), _ALL, 0.3).shape == (2, 1)
    none = torch.zeros(0, 4)
    assert lambda_ensemble(none, none, torch.zeros(0, dtype=torch.bool), 0.3).shape == (0, 4)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_lambda_ensemble_refuses_lambdas_out_of_range(value: float) -> None:
    p = torch.rand(2, 3)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        lambda_ensemble(p, p, _ALL, value)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        lambda_ensemble(p, p, _ALL, torch.tensor([0.5, value, 0.5]))


def test_lambda_ensemble_refuses_shapes() -> None:
    p = torch.rand(2, 3)
    with pytest.raises(ValueError, match="clip_probs"):
        lambda_ensemble(p, torch.rand(1, 3), _ALL, 0.5)
    with pytest.raises(ValueError, match="valid"):
        lambda_ensemble(p, p, _ALL[:1], 0.5)
    with pytest.raises(ValueError, match="lambdas"):
        lambda_ensemble(p, p, _ALL, torch.rand(2))


@pytest.mark.parametrize(
    "subcase", ["weight_0_7", "weight_0", "weight_1", "all_valid_weight_0_7", "none_valid"]
)
def test_lambda_ensemble_equals_the_official_one(parity, subcase: str) -> None:
    call = parity("ovseg_semantic_inference").subcases[subcase]
    p = call.inputs["mask_class_logits"].softmax(dim=-1)[:, :-1]
    valid = call.inputs["valid"]
    q = torch.zeros_like(p)
    if "clip_logits" in call.inputs:
        q[valid] = call.inputs["clip_logits"][:, :-1].softmax(dim=-1)
    weight = call.args["clip_ensemble_weight"]
    mixed = lambda_ensemble(p, q, valid, weight, official=True)
    _check_maps(call, mixed)


def test_lambda_ensemble_equals_the_official_proposals_alone(parity) -> None:
    call = parity("ovseg_semantic_inference").subcases["ensemble_off"]
    p = call.inputs["mask_class_logits"].softmax(dim=-1)[:, :-1]
    valid = torch.ones(len(p), dtype=torch.bool)
    _check_maps(call, lambda_ensemble(p, torch.rand_like(p), valid, 0.0))


def _check_maps(call, class_probs: torch.Tensor) -> None:
    maps = fuse_masks(class_probs, call.inputs["mask_logits"].sigmoid())
    call.check("semseg", maps)
    size = (call.args["height"], call.args["width"])
    call.check(
        "sem_seg", F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    )
