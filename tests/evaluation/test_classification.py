"""Zero-shot classification: numbers by hand, class sets and ties."""

import math

import numpy as np
import pytest
import torch

from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.evaluation import ClassificationEvaluator
from ovseg_d2.evaluation.classification import accuracy_of_sets

SETS = {"base": [0, 1, 2], "novel": [3, 4], "withheld": [5, 6]}


@pytest.fixture
def evaluator():
    name = "ovseg_toy_classification"
    MetadataCatalog.get(name).set(stuff_classes=list("abcdefg"), class_sets=SETS)
    yield ClassificationEvaluator(name, category_fn=lambda entry: entry["category_id"])
    MetadataCatalog.remove(name)


def feed(evaluator, pairs):
    for category, scores in pairs:
        output = {"class_scores": torch.tensor(scores, dtype=torch.float32)}
        evaluator.process([{"category_id": category, "file_name": "x.png"}], [output])


def test_evaluate_by_hand(evaluator):
    up = [1, 2, 3, 4, 5, 6, 7]
    down = up[::-1]
    # Right; sixth; right; third; right.
    feed(evaluator, [(0, down), (5, down), (6, up), (4, up), (4, [0, 0, 0, 0, 1, 0, 0])])
    numbers = evaluator.evaluate()["classification"]
    assert numbers["accuracy"] == pytest.approx(60)
    assert (numbers["accuracy_base"], numbers["accuracy_novel"]) == (100, 50)
    assert numbers["accuracy_withheld"] == 50
    assert numbers["harmonic_accuracy"] == pytest.approx(2 / (1 / 100 + 1 / 50))
    assert numbers["accuracy_top5"] == pytest.approx(80)
    assert numbers["images"] == 5
    evaluator.reset()
    feed(evaluator, [(0, down)])
    numbers = evaluator.evaluate()["classification"]
    assert numbers["accuracy"] == 100 and math.isnan(numbers["accuracy_novel"])


def test_evaluate_equal_scores_and_nan_are_wrong(evaluator):
    feed(evaluator, [(0, [0.5] * 7), (6, [0.5] * 7)])
    numbers = evaluator.evaluate()["classification"]
    assert numbers["accuracy"] == numbers["accuracy_top5"] == 0
    evaluator.reset()
    feed(evaluator, [(0, [float("nan")] * 7)])
    numbers = evaluator.evaluate()["classification"]
    assert numbers["accuracy"] == numbers["accuracy_top5"] == 0


def test_accuracy_of_sets_seen_and_unseen():
    right = np.array([True, False, True])
    numbers = accuracy_of_sets(np.array([0, 1, 1]), right, {"seen": [0], "unseen": [1]})
    assert numbers["harmonic_accuracy"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(("category", "count"), [(7, 7), (-1, 7), (0, 6)])
def test_process_refuses_other_classes(evaluator, category, count):
    with pytest.raises(
        ValueError, match="x.png is of class .*, but dataset ovseg_toy_class.* has 7"
    ):
        feed(evaluator, [(category, [0.0] * count)])
