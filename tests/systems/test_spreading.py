"""Features and scores that spread over all windows of an image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import Calibration, CLIPTower, LastBlock
from ovseg_d2.ops import (
    Propagation,
    Refinement,
    mix_by_affinity,
    neighbour_graph,
    propagate_scores,
)
from ovseg_d2.systems import MaskCLIP, Spreading, spread_scores
from ovseg_d2.text import ClassTexts

WHOLE = [(0, 0, 56, 48)]


def texts_of(dim: int = 32, count: int = 5) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim), dim=-1)


def test_mixing_equals_the_official_code():
    # _self_correlating_global_aggregation of github.com/RADSeg-OVSS/RADSeg (05ec86f).
    expected = np.load(Path(__file__).parents[1] / "data" / "official_scga.npz")["out"]
    feats = np.random.RandomState(3).standard_normal((1, 8, 6, 7)).astype(np.float32) + 0.3
    scores = spread_scores(
        torch.from_numpy(feats).float(),
        None,
        WHOLE,
        (48, 56),
        torch.eye(8),
        Spreading(mixing_scale=10.0),
    )
    torch.testing.assert_close(
        scores, F.normalize(torch.from_numpy(expected), dim=1), rtol=0, atol=1e-4
    )


def test_default_is_cosines():
    feats, texts = torch.randn(2, 6, 3, 4), texts_of(6)
    scores = spread_scores(feats, None, [(0, 0, 32, 24)] * 2, (24, 32), texts, Spreading())
    expected = torch.einsum("ndhw,kd->nkhw", F.normalize(feats, dim=1), texts)
    torch.testing.assert_close(scores, expected)


def test_windows_are_one_set_of_locations():
    feats, texts = torch.randn(2, 6, 3, 4), texts_of(6)
    boxes = [(0, 0, 32, 24), (16, 8, 48, 32)]
    options = Propagation(neighbours=5)
    spreading = Spreading(mixing_scale=4.0, propagation=options)
    scores = spread_scores(feats, None, boxes, (24, 32), texts, spreading)
    flat = torch.stack([f[:, y, x] for f in feats for y in range(3) for x in range(4)])
    places = torch.tensor(
        [
            (top + 8 * y + 4.0, left + 8 * x + 4.0)
            for left, top, _, _ in boxes
            for y in range(3)
            for x in range(4)
        ]
    )
    mixed = mix_by_affinity(flat[None], flat[None], mean_weight=1.0, scale=4.0)[0]
    graph = neighbour_graph(mixed, places, options)
    expected = propagate_scores(graph, F.normalize(mixed, dim=-1) @ texts.T, options)
    for window in range(2):
        for y in range(3):
            for x in range(4):
                location = expected[12 * window + 4 * y + x]
                torch.testing.assert_close(scores[window, :, y, x], location)


def test_other_features_give_graph_and_grid():
    feats, texts = torch.randn(1, 6, 3, 4), texts_of(6)
    other = torch.randn(1, 5, 6, 8)
    options = Propagation(neighbours=5)
    scores = spread_scores(
        feats, other, [(0, 0, 32, 24)], (24, 32), texts, Spreading(propagation=options)
    )
    finer = F.interpolate(feats, (6, 8), mode="bilinear", align_corners=False)
    again = spread_scores(
        finer, other, [(0, 0, 32, 24)], (24, 32), texts, Spreading(propagation=options)
    )
    assert scores.shape == (1, 5, 6, 8)
    torch.testing.assert_close(scores, again)
    alone = spread_scores(
        finer, None, [(0, 0, 32, 24)], (24, 32), texts, Spreading(propagation=options)
    )
    assert (scores - alone).abs().max() > 1e-3


def test_autocast_changes_nothing():
    feats, texts = torch.randn(2, 6, 3, 4), texts_of(6)
    spreading = Spreading(mixing_scale=10.0, propagation=Propagation(neighbours=5))
    args = (feats, None, [(0, 0, 32, 24), (8, 0, 40, 24)], (24, 32), texts, spreading)
    with torch.autocast("cpu", torch.bfloat16):
        scores = spread_scores(*args)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, spread_scores(*args))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "block",
    [
        LastBlock(residual="none", mlp=False, attention="affinity"),
        LastBlock(
            residual="none",
            mlp=False,
            attention="self_calibrated",
            calibration=Calibration(affinity_block=1, mixing_block=1, first_level=1, last_level=1),
        ),
    ],
    ids=["affinity", "self_calibrated"],
)
def test_half_precision_scores_are_near_full_precision(tower: CLIPTower, block, dtype):
    images, texts = torch.rand(1, 3, 32, 48) * 255, texts_of()
    options = {"last_block": block, "guide": lambda x: F.avg_pool2d(x.float(), 4) + 1}
    options["spreading"] = Spreading(mixing_scale=10.0)
    full = MaskCLIP(tower.eval(), **options).score_patches(images, texts)
    half = MaskCLIP(tower.to(dtype), **options).score_patches(images, texts)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)


def test_maskclip_spreads_over_its_windows(tower: CLIPTower):
    spreading = Spreading(mixing_scale=10.0, propagation=Propagation(neighbours=12))
    images, texts = torch.rand(1, 3, 30, 44) * 255, ClassTexts(texts_of())
    system = MaskCLIP(tower.eval(), spreading=spreading, window=24, stride=16)
    scores = system.score_pixels(images, texts)
    assert scores.shape == (1, 5, 30, 44) and scores.isfinite().all()
    plain = MaskCLIP(tower, window=24, stride=16).score_pixels(images, texts)
    assert (scores - plain).abs().max() > 1e-2
    whole = MaskCLIP(tower, spreading=spreading)
    patches = whole.score_patches(images, texts.embeds)
    feats = whole.dense_feats(images)
    expected = spread_scores(feats, None, [(0, 0, 44, 30)], (32, 48), texts.embeds, spreading)
    torch.testing.assert_close(patches, expected)


def test_maskclip_propagates_by_the_guide(tower: CLIPTower):
    spreading = Spreading(propagation=Propagation(neighbours=12))
    images, texts = torch.rand(1, 3, 32, 48) * 255, ClassTexts(texts_of())
    system = MaskCLIP(tower.eval(), spreading=spreading, guide=lambda x: F.avg_pool2d(x, 4) + 1)
    scores = system.score_patches(images, texts.embeds)
    expected = spread_scores(
        system.dense_feats(images),
        F.avg_pool2d(images, 4) + 1,
        [(0, 0, 48, 32)],
        (32, 48),
        texts.embeds,
        spreading,
    )
    assert scores.shape == (1, 5, 8, 12)
    torch.testing.assert_close(scores, expected)


def test_impossible_combinations_are_refused(tower: CLIPTower):
    with pytest.raises(ValueError, match="mixing_scale=0.0; give a positive factor"):
        Spreading(mixing_scale=0.0)
    with pytest.raises(ValueError, match="does not go with a guide, with mixing or with propag"):
        MaskCLIP(tower, spreading=Spreading(mixing_scale=1.0), refine=Refinement(key_smoothing=1.0))
