"""mIoU that forgives synonyms and kinds, in an evaluation, and the file of what it forgave."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.engine import evaluate
from ovseg_d2.evaluation.ambiguity import forgiven_pairs, forgiving_means
from ovseg_d2.vocab import MORE_GENERAL, MORE_SPECIFIC, SYNONYM

# Predicted in rows, labelled in columns: building, skyscraper, tree, edifice (never labelled).
COUNTS = np.array([[50, 10, 5, 0], [30, 20, 0, 0], [0, 0, 40, 0], [8, 0, 0, 0]])
RELATED = {(1, 0): MORE_SPECIFIC, (0, 1): MORE_GENERAL, (0, 3): SYNONYM, (3, 0): SYNONYM}
NAMES = ["building", "skyscraper", "tree", "edifice"]


def test_forgiving_means_by_hand() -> None:
    means = forgiving_means(COUNTS, RELATED)
    exact = [(50 + 30 + 8) / 103, 20 / 30, 40 / 45]
    assert means["mIoU_forgiving"] == pytest.approx(100 * np.mean(exact))
    general = [88 / 93, 30 / 30, 40 / 45]
    assert means["mIoU_forgiving_general"] == pytest.approx(100 * np.mean(general))


def test_forgiven_pairs_are_those_that_were_confused_most_important_first() -> None:
    pairs = forgiven_pairs(COUNTS, RELATED, NAMES)
    assert [(p["predicted"], p["labelled"], p["relation"], p["pixels"]) for p in pairs] == [
        ("skyscraper", "building", MORE_SPECIFIC, 30),
        ("building", "skyscraper", MORE_GENERAL, 10),
        ("edifice", "building", SYNONYM, 8),
    ]
    # 30 more hits of 103, and a union of 60 that becomes 30, over three classes.
    assert pairs[0]["gain"] == pytest.approx(100 * (30 / 103 + 20 / 30 - 20 / 60) / 3, abs=1e-4)
    assert pairs[2]["gain"] == pytest.approx(100 * 8 / 103 / 3, abs=1e-4)


class Skyscrapers(nn.Module):
    """Predicts skyscraper everywhere."""

    def forward(self, batched_inputs):
        scores = torch.tensor([0.0, 1.0, 0.0])
        return [
            {"sem_seg": scores[:, None, None].expand(3, each["height"], each["width"])}
            for each in batched_inputs
        ]


@pytest.fixture
def evaluated(toy_dataset, tmp_path):
    """Evaluate on buildings and trees with a value of TEST.AMBIGUITY; also the written files."""
    labels = np.array([[0, 0, 0, 2]])
    name = toy_dataset("ovseg_ambiguous", ["building", "skyscraper", "tree"], labels=[labels])

    def evaluate_with(ambiguity: str):
        opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / ambiguity)]
        opts += ["DATASETS.TEST", f"('{name}',)", "TEST.AMBIGUITY", ambiguity]
        numbers = evaluate(load_config(None, opts), Skyscrapers())["sem_seg"]
        return numbers, tmp_path / ambiguity / "results_ambiguous.json"

    return evaluate_with


def test_evaluation_forgives_and_lists_pairs(evaluated, caplog) -> None:
    caplog.set_level("INFO")
    numbers, file = evaluated("table")
    # Three building pixels of three are a kind of building; the tree is missed.
    assert numbers["mIoU"] == 0 and numbers["mIoU_forgiving"] == pytest.approx(50)
    assert numbers["mIoU_forgiving_general"] == numbers["mIoU_forgiving"]
    (pair,) = json.loads(file.read_text())["ovseg_ambiguous"]["pairs"]
    assert pair["predicted"] == "skyscraper" and pair["labelled"] == "building"
    assert (pair["relation"], pair["pixels"], pair["gain"]) == (MORE_SPECIFIC, 3, 50)
    shown = "skyscraper for building (more specific) in 3 pixels, +50.00 mIoU"
    assert f"forgiven on ovseg_ambiguous: {shown}" in caplog.text and str(file) in caplog.text
    assert "| mIoU_forgiving " in caplog.text


def test_evaluation_without_ambiguity_has_the_same_numbers_and_no_file(evaluated) -> None:
    plain, file = evaluated("off")
    assert not file.exists() and not [key for key in plain if "forgiving" in key]
    forgiving, _ = evaluated("table")
    del plain["seconds"]
    kept = {key: forgiving[key] for key in plain}
    assert kept == pytest.approx(plain, nan_ok=True)
