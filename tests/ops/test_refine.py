"""Prompt denoising and key smoothing: worked values, loops and the official numbers."""

import math

import pytest
import torch

from ovseg_d2.ops import REMOVED_SCORE, Refinement, denoise_prompts, refine_scores, smooth_by_keys


def _probs(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).softmax(dim=1)


def test_denoise_prompts_worked_by_hand() -> None:
    # Odds of the two locations: 3 : 1 : 1 (0.6, 0.2, 0.2) and 1 : 2 : 1 (0.25, 0.5, 0.25).
    scores = torch.tensor([[3.0, 1.0], [1.0, 2.0], [1.0, 1.0]], dtype=torch.float64).log() / 10
    scores = scores.reshape(1, 3, 1, 2)
    assert denoise_prompts(scores, 10, 0.51)[0, 1:].eq(REMOVED_SCORE).all()
    out = denoise_prompts(scores, 10, 0.49)
    assert torch.equal(out[0, :2], scores[0, :2])
    assert out[0, 2].eq(REMOVED_SCORE).all()
    # At half the scale no class reaches 0.5 (best: 0.46): all stay; the release removes all.
    assert torch.equal(denoise_prompts(scores, 5, 0.5), scores)
    assert denoise_prompts(scores, 5, 0.5, official=True).eq(REMOVED_SCORE).all()


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_denoise_prompts_equals_a_loop(threshold: float, official: bool) -> None:
    scores, scale = torch.randn(4, 6, 3, 2, dtype=torch.float64), 1.5
    out = denoise_prompts(scores, torch.tensor(scale), threshold, official=official)
    for b in range(4):
        removed = []
        for k in range(6):
            confidence = 0.0
            for y in range(3):
                for x in range(2):
                    odds = [math.exp(scale * s) for s in scores[b, :, y, x].tolist()]
                    confidence = max(confidence, odds[k] / sum(odds))
            if confidence < threshold:
                removed.append(k)
        if len(removed) == 6 and not official:
            removed = []
        expected = scores[b].clone()
        expected[removed] = REMOVED_SCORE
        assert torch.equal(out[b], expected)


def test_denoise_prompts_per_image_with_finite_interpolation() -> None:
    confident = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    scores = torch.cat([confident, torch.zeros(1, 3, 2, 2)])
    out = denoise_prompts(scores, 100)
    assert torch.equal(out[1], scores[1])
    assert out[0, 1:].eq(REMOVED_SCORE).all()
    assert torch.nn.functional.interpolate(out, size=(5, 5), mode="bilinear").isfinite().all()


def test_smooth_by_keys_worked_by_hand() -> None:
    # Keys along (3, 4), (3, 4) and (4, -3): the first two agree (1), the third is orthogonal (0).
    keys = torch.tensor([[3.0, 6.0, 4.0], [4.0, 8.0, -3.0]]).reshape(1, 2, 1, 3)
    probs = torch.tensor([[0.9, 0.4, 0.2], [0.1, 0.6, 0.8]]).reshape(1, 2, 1, 3)
    out = smooth_by_keys(probs, keys) * 3
    expected = torch.tensor([[1.3, 1.3, 0.2], [0.7, 0.7, 0.8]]).reshape(1, 2, 1, 3)
    torch.testing.assert_close(out, expected)


def test_smooth_by_keys_weights_opposite_keys_negatively() -> None:
    # Clamped weights would leave a tie at location 0; the formula makes it class 1.
    keys = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 1, 1, 3)
    probs = torch.tensor([[0.5, 0.9, 0.9], [0.5, 0.1, 0.1]]).reshape(1, 2, 1, 3)
    out = smooth_by_keys(probs, keys)
    expected = torch.tensor([0.5 - 0.9 - 0.9, 0.5 - 0.1 - 0.1]) / 3
    torch.testing.assert_close(out[0, :, 0, 0], expected)


@pytest.mark.parametrize("official", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
def test_smooth_by_keys_equals_a_loop(threshold: float, official: bool) -> None:
    probs, keys = _probs(2, 4, 3, 2), torch.randn(2, 5, 3, 2, dtype=torch.float64)
    out = smooth_by_keys(probs, keys, threshold, official=official)
    for b in range(2):
        preds, k = probs[b].flatten(1), keys[b].flatten(1)  # (4, 6), (5, 6)
        k = k / k.norm(dim=1 if official else 0, keepdim=True)
        for i in range(6):
            total = sum((k[:, i] @ k[:, j]) * preds[:, j] for j in range(6))
            if preds[:, i].max() >= threshold:
                expected = preds[:, i]
            else:
                expected = total if official else total / 6
            torch.testing.assert_close(out[b].flatten(1)[:, i], expected)


def test_smooth_by_keys_at_threshold_1() -> None:
    probs = torch.tensor([[1.0, 0.5], [0.0, 0.5]]).reshape(1, 2, 1, 2)
    keys = torch.ones(1, 1, 1, 2)
    assert torch.equal(smooth_by_keys(probs, keys)[0, :, 0, 0], torch.tensor([0.75, 0.25]))
    kept = smooth_by_keys(probs, keys, official=True)
    assert torch.equal(kept[0, :, 0, 0], torch.tensor([1.0, 0.0]))


def test_smooth_by_keys_ignores_the_length_of_keys() -> None:
    probs, keys = _probs(1, 3, 4, 4), torch.randn(1, 5, 4, 4, dtype=torch.float64)
    lengths = torch.rand(1, 1, 4, 4, dtype=torch.float64) + 0.1
    torch.testing.assert_close(smooth_by_keys(probs, keys * lengths), smooth_by_keys(probs, keys))


def test_smooth_by_keys_of_large_grids() -> None:
    # 40,000 locations: their pairs alone would be 6.4 GB.
    probs, keys = torch.rand(1, 2, 200, 200), torch.randn(1, 3, 200, 200)
    out = smooth_by_keys(probs, keys)
    unit = torch.nn.functional.normalize(keys.flatten(2)[0].double(), dim=0)
    expected = (unit[:, 123] @ unit) @ probs.flatten(2)[0].double().T / 40_000
    torch.testing.assert_close(out.flatten(2)[0, :, 123].double(), expected, rtol=1e-3, atol=1e-5)


def test_smooth_by_keys_under_autocast() -> None:
    probs, keys = torch.rand(1, 2, 5, 5), torch.randn(1, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = smooth_by_keys(probs, keys)
    torch.testing.assert_close(out, smooth_by_keys(probs, keys), rtol=0, atol=0)


def test_smooth_by_keys_sums_half_precision_in_float32() -> None:
    probs, keys = torch.rand(1, 2, 5, 5).half(), torch.randn(1, 3, 5, 5).half()
    out = smooth_by_keys(probs, keys)
    assert out.dtype == torch.float16
    assert torch.equal(out, smooth_by_keys(probs.float(), keys.float()).half())


@pytest.mark.parametrize(
    ("probs", "keys", "threshold", "message"),
    [
        ((2, 3, 3), (1, 4, 3, 3), 1, r"probs have shape \(2, 3, 3\)"),
        ((1, 2, 3, 3), (4, 3, 3), 1, r"keys have shape \(4, 3, 3\)"),
        ((1, 2, 3, 3), (1, 4, 3, 4), 1, "must agree in batch and grid"),
        ((1, 2, 3, 3), (2, 4, 3, 3), 1, "must agree in batch and grid"),
        ((1, 2, 3, 3), (1, 4, 3, 3), 1.5, "threshold is 1.5"),
    ],
)
def test_smooth_by_keys_refuses(probs, keys, threshold, message) -> None:
    with pytest.raises(ValueError, match=message):
        smooth_by_keys(torch.zeros(probs), torch.zeros(keys), threshold)


@pytest.mark.parametrize(
    ("scores", "threshold", "message"),
    [
        (torch.zeros(2, 3, 3), 0.5, r"scores have shape"),
        (torch.zeros(1, 2, 3, 3, dtype=torch.long), 0.5, "dtype torch.int64"),
        (torch.zeros(1, 0, 3, 3), 0.5, "none of K, h, w zero"),
        (torch.zeros(1, 2, 3, 3), -0.1, "threshold is -0.1"),
    ],
)
def test_denoise_prompts_refuses(scores, threshold, message) -> None:
    with pytest.raises(ValueError, match=message):
        denoise_prompts(scores, 100, threshold)


def test_denoise_prompts_equals_the_official_one(parity) -> None:
    for name in ("maskclip_vit", "maskclip_resnet"):
        call = parity(name).subcases["prompt_denoising"]
        scores = call.outputs["similarity"]
        out = denoise_prompts(scores, 100, call.args["pd_thresh"], official=True)
        call.check("logits", out)
        assert (out == REMOVED_SCORE).any()
        # The two forms are equal if a class stays.
        assert torch.equal(denoise_prompts(scores, 100, call.args["pd_thresh"]), out)


def test_refine_scores_denoises_then_smooths() -> None:
    scores, keys = torch.randn(2, 4, 3, 3), torch.randn(2, 5, 3, 3)
    denoised = denoise_prompts(scores, 2.0, 0.6)
    assert (denoised == REMOVED_SCORE).any()
    both = refine_scores(scores, keys, Refinement(0.6, 0.9), 2.0)
    assert torch.equal(both, smooth_by_keys((2.0 * denoised).softmax(dim=1), keys, 0.9))
    assert torch.equal(refine_scores(scores, None, Refinement(0.6), 2.0), denoised)
    smoothed = refine_scores(scores, keys, Refinement(None, 1.0), 2.0, official=True)
    probs = (2.0 * scores).softmax(dim=1)
    assert torch.equal(smoothed, smooth_by_keys(probs, keys, 1.0, official=True))
    assert refine_scores(scores, None, Refinement(), 2.0) is scores


def test_refine_scores_refuses() -> None:
    with pytest.raises(ValueError, match="key_smoothing is 1.0 and keys is None"):
        refine_scores(torch.zeros(1, 2, 3, 3), None, Refinement(key_smoothing=1.0), 100)
    with pytest.raises(ValueError, match="key_smoothing is 2"):
        Refinement(key_smoothing=2)
    with pytest.raises(ValueError, match="prompt_denoising is -1"):
        Refinement(prompt_denoising=-1)
