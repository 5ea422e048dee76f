"""Retrieval: recalls against loops, several captions of an image, and equal captions."""

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.evaluation import RetrievalEvaluator
from ovseg_d2.evaluation.retrieval import wrong_before_right


def feed(evaluator, images, captions, embed):
    for image, texts in zip(images, captions, strict=True):
        text_embeds = torch.stack([embed[" ".join(t.split()).casefold()] for t in texts])
        output = {"image_embeds": image, "captions": texts, "text_embeds": text_embeds}
        evaluator.process([{}], [output])


def by_loops(images, captions, embed):
    """Recalls by sorting lists."""
    unique = sorted({text for texts in captions for text in texts})
    numbers = {}
    for recall in (1, 5, 10):
        hits = 0
        for image, texts in zip(images, captions, strict=True):
            ranked = sorted(unique, key=lambda text: -float(image @ embed[text]))
            hits += any(text in texts for text in ranked[:recall])
        numbers[f"image_to_text_R@{recall}"] = 100 * hits / len(images)
        hits = queries = 0
        for texts in captions:
            for text in texts:
                order = sorted(range(len(images)), key=lambda i: -float(images[i] @ embed[text]))
                hits += any(text in captions[i] for i in order[:recall])
                queries += 1
        numbers[f"text_to_image_R@{recall}"] = 100 * hits / queries
    return numbers


def test_evaluate_equals_loops():
    words = [f"text {number}" for number in range(25)]
    embed = {word: F.normalize(torch.randn(4), dim=0) for word in words}
    images = F.normalize(torch.randn(30, 4), dim=1)
    counts = torch.randint(1, 5, (30,)).tolist()
    captions = [[words[i] for i in torch.randperm(25)[:count]] for count in counts]
    evaluator = RetrievalEvaluator()
    feed(evaluator, images, captions, embed)
    numbers = evaluator.evaluate()["retrieval"]
    for name, expected in by_loops(images, captions, embed).items():
        assert numbers[name] == pytest.approx(expected), name
    used = {text for texts in captions for text in texts}
    assert (numbers["images"], numbers["captions"]) == (30, sum(counts))
    assert numbers["texts"] == len(used)


def test_evaluate_equal_captions_are_one_text():
    embed = {"grass": torch.tensor([1.0, 0.0]), "sand": torch.tensor([0.0, 1.0])}
    images = torch.tensor([[0.8, 0.6], [1.0, 0.0], [0.0, 1.0]])
    evaluator = RetrievalEvaluator()
    # "grass" is a caption of both first images, and the second image is nearest to it.
    feed(evaluator, images, [["Grass"], ["grass "], ["sand"]], embed)
    numbers = evaluator.evaluate()["retrieval"]
    assert numbers["texts"] == 2 and numbers["captions"] == 3
    assert numbers["image_to_text_R@1"] == numbers["text_to_image_R@1"] == 100


def test_evaluate_equal_embeddings_and_nan():
    same = torch.tensor([1.0, 0.0])
    evaluator = RetrievalEvaluator()
    captions = [[f"text {number}"] for number in range(12)]
    feed(evaluator, [same] * 12, captions, {f"text {number}": same for number in range(12)})
    numbers = evaluator.evaluate()["retrieval"]
    assert numbers["image_to_text_R@10"] == numbers["text_to_image_R@10"] == 0
    evaluator.reset()
    broken = torch.tensor([float("nan")] * 2)
    feed(evaluator, [broken] * 12, captions, {f"text {number}": broken for number in range(12)})
    numbers = evaluator.evaluate()["retrieval"]
    assert numbers["image_to_text_R@10"] == numbers["text_to_image_R@10"] == 0
    evaluator.reset()
    feed(evaluator, [same], [["grass"]], {"grass": same})
    assert evaluator.evaluate()["retrieval"]["image_to_text_R@1"] == 100


def test_wrong_before_right_in_parts(monkeypatch):
    monkeypatch.setattr("ovseg_d2.evaluation.retrieval._ROWS", 3)
    queries, gallery = torch.randn(8, 4), torch.randn(9, 4)
    right = torch.rand(8, 9) < 0.3
    right[:, 0] = True
    scores = queries @ gallery.t()
    expected = [
        sum(s >= max(row[ok]) for s, no in zip(row, ~ok, strict=True) if no)
        for row, ok in zip(scores, right, strict=True)
    ]
    assert wrong_before_right(queries, gallery, right).tolist() == [int(e) for e in expected]
