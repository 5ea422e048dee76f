"""`TextClassifier`: loops, mapper and background."""

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.nets import TextClassifier

FEATS = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
TEXTS = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), dim=1)


def test_text_classifier_keeps_the_length_of_features():
    logits = TextClassifier(4)(FEATS, TEXTS)
    for b in range(2):
        for i in range(3):
            for j in range(5):
                for k in range(6):
                    expected = sum(FEATS[b, d, i, j] * TEXTS[k, d] for d in range(4))
                    torch.testing.assert_close(logits[b, k, i, j], expected)
    assert not list(TextClassifier(4).parameters())


def test_text_classifier_with_scale_returns_cosines():
    logits = TextClassifier(4, logit_scale=7.0)(10 * FEATS, TEXTS)
    pixels = FEATS.movedim(1, -1)[..., None, :].expand(-1, -1, -1, 6, -1)
    torch.testing.assert_close(
        logits, 7 * F.cosine_similarity(pixels, TEXTS, dim=-1).movedim(-1, 1)
    )


def test_text_classifier_returns_float32_for_bfloat16():
    assert TextClassifier(4)(FEATS.bfloat16(), TEXTS).dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"logit_scale": 30.0}, {"mapper": "linear"}])
def test_text_classifier_under_autocast(options):
    classifier = TextClassifier(4, **options)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(FEATS, TEXTS)
    torch.testing.assert_close(logits, classifier(FEATS, TEXTS), rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "count"), [("linear", 2), ("mlp", 4)])
def test_text_classifier_learns_a_mapper_of_texts(kind, count):
    classifier = TextClassifier(4, mapper=kind)
    assert len(list(classifier.parameters())) == count
    logits = classifier(FEATS, TEXTS)
    mapped = torch.stack([classifier.mapper(text) for text in TEXTS])
    torch.testing.assert_close(logits, torch.einsum("bdhw,kd->bkhw", FEATS, mapped))
    logits.square().sum().backward()
    assert all(p.grad.any() for p in classifier.parameters())


def test_text_classifier_background_replaces_its_rows():
    classifier = TextClassifier(4, learn_background=True)
    plain = TextClassifier(4)(FEATS, TEXTS)
    logits = classifier(FEATS, TEXTS, background_rows=(1, 3))
    vector = classifier.background / classifier.background.norm()
    background = torch.einsum("bdhw,d->bhw", FEATS, vector)
    for row in range(6):
        expected = background if row in (1, 3) else plain[:, row]
        torch.testing.assert_close(logits[:, row], expected)
    logits.square().sum().backward()
    assert classifier.background.grad.any()
    torch.testing.assert_close(classifier(FEATS, TEXTS), plain)


def test_text_classifier_refuses():
    with pytest.raises(ValueError, match="mapper is 'deep'; choose one of"):
        TextClassifier(4, mapper="deep")
    with pytest.raises(ValueError, match="logit_scale is 0.0; give a positive"):
        TextClassifier(4, logit_scale=0.0)
