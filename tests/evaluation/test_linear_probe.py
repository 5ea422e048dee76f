"""Linear probes: the minimum by scipy, the classes that are fitted, and errors."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.evaluation import LinearProbeEvaluator
from ovseg_d2.evaluation.linear_probe import fit_logistic


def probabilities(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_fit_logistic_equals_scipy():
    feats = torch.randn(60, 4).double() * torch.tensor([1.0, 5.0, 0.1, 2.0]) + 3
    targets = torch.randint(0, 3, (60,))
    x, y = feats.numpy(), targets.numpy()
    x = (x - x.mean(0)) / x.std(0)

    def objective(flat):
        w, b = flat[:12].reshape(4, 3), flat[12:]
        p = probabilities(x @ w + b)
        return -np.log(p[np.arange(60), y]).mean() + 0.05 * (w**2).sum() / 2

    best = minimize(objective, np.zeros(15), tol=1e-10).x
    weights, bias = fit_logistic(feats, targets, 3, penalty=0.05)
    expected = probabilities(x @ best[:12].reshape(4, 3) + best[12:])
    probs = (feats @ weights + bias).softmax(dim=1).numpy()
    np.testing.assert_allclose(probs, expected, atol=1e-4)


def test_fit_logistic_constant_features():
    feats = torch.cat([torch.full((8, 1), 7.0), torch.arange(8.0)[:, None]], dim=1).double()
    targets = (torch.arange(8) >= 4).long()
    weights, bias = fit_logistic(feats, targets, 2, penalty=1e-3)
    assert torch.isfinite(weights).all() and torch.isfinite(bias).all()
    assert ((feats @ weights + bias).argmax(dim=1) == targets).all()


@pytest.fixture
def probe():
    name = "ovseg_toy_probe"
    sets = {"base": [0, 1, 3], "novel": [2]}
    MetadataCatalog.get(name).set(stuff_classes=list("abcd"), class_sets=sets)

    def build(**options):
        return LinearProbeEvaluator(name, category_fn=lambda d: d["category_id"], **options)

    yield build
    MetadataCatalog.remove(name)


def feed(evaluator, part, category, feats):
    inputs = [{"probe_part": part, "category_id": category, "file_name": "x.png"}]
    evaluator.process(inputs, [{"image_feats": torch.tensor(feats)}])


def test_evaluate_uses_base_classes_only(probe):
    evaluator = probe()
    centers = {0: (0.0, 0.0), 1: (9.0, 0.0), 2: (0.0, 9.0), 3: (9.0, 9.0)}
    for category, (x, y) in centers.items():
        for shift in (-0.5, 0.5):
            feed(evaluator, "fit", category, [x + shift, y - shift])
    feed(evaluator, "test", 0, [0.1, 0.2])
    feed(evaluator, "test", 3, [9.0, 8.0])
    feed(evaluator, "test", 3, [0.0, 1.0])  # looks like class 0
    feed(evaluator, "test", 2, [0.0, 9.0])  # novel: not counted
    numbers = evaluator.evaluate()["linear_probe"]
    assert numbers["accuracy"] == pytest.approx(200 / 3)
    assert numbers["accuracy_fit"] == 100
    assert (numbers["images_fit"], numbers["images"]) == (6, 3)


def test_linear_probe_errors(probe):
    with pytest.raises(ValueError, match="TEST.PROBE_PENALTY is -1; give a number of at least 0"):
        probe(penalty=-1)
    evaluator = probe()
    with pytest.raises(
        ValueError, match="x.png: its probe_part is 'train'; write one of fit, test"
    ):
        feed(evaluator, "train", 0, [0.0])
    feed(evaluator, "fit", 0, [0.0])
    with pytest.raises(ValueError, match="no image to test a probe with; .*raise TEST.MAX_IMAGES"):
        evaluator.evaluate()
