"""Texts as a classifier: by loops, with what may be learnt about them."""

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.nets import TextClassifier

FEATS = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
TEXTS = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), dim=1)


def test_features_are_compared_at_their_own_length():
    logits = TextClassifier(4)(FEATS, TEXTS)
    for b in range(2):
        for i in range(3):
            for j in range(5):
                for k in range(6):
                    expected = sum(FEATS[b, d, i, j] * TEXTS[k, d] for d in range(4))
                    torch.testing.assert_close(logits[b, k, i, j], expected)
    assert not list(TextClassifier(4).parameters())


def test_a_scale_makes_cosines_of_them():
    logits = TextClassifier(4, logit_scale=7.0)(10 * FEATS, TEXTS)
    pixels = FEATS.movedim(1, -1)[..., None, :].expand(-1, -1, -1, 6, -1)
    torch.testing.assert_close(
        logits, 7 * F.cosine_similarity(pixels, TEXTS, dim=-1).movedim(-1, 1)
    )


def test_half_precision_gives_whole_logits():
    assert TextClassifier(4)(FEATS.bfloat16(), TEXTS).dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"logit_scale": 30.0}, {"mapper": "linear"}])
def test_autocast_leaves_logits_as_they_are(options):
    classifier = TextClassifier(4, **options)
    with torch.autocast("cpu", torch.bfloat16):
        found = classifier(FEATS, TEXTS)
    torch.testing.assert_close(found, classifier(FEATS, TEXTS), rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "count"), [("linear", 2), ("mlp", 4)])
def test_a_mapper_changes_the_texts_and_is_learnt(kind, count):
    classifier = TextClassifier(4, mapper=kind)
    assert len(list(classifier.parameters())) == count
    logits = classifier(FEATS, TEXTS)
    mapped = torch.stack([classifier.mapper(text) for text in TEXTS])
    torch.testing.assert_close(logits, torch.einsum("bdhw,kd->bkhw", FEATS, mapped))
    logits.square().sum().backward()
    assert all(p.grad.any() for p in classifier.parameters())


def test_a_learnt_background_takes_the_place_of_its_rows():
    classifier = TextClassifier(4, learn_background=True)
    plain = TextClassifier(4)(FEATS, TEXTS)
    logits = classifier(FEATS, TEXTS, background_rows=(1, 3))
    vector = classifier.background / classifier.background.norm()
    own = torch.einsum("bdhw,d->bhw", FEATS, vector)
    for row in range(6):
        torch.testing.assert_close(logits[:, row], own if row in (1, 3) else plain[:, row])
    logits.square().sum().backward()
    assert classifier.background.grad.any()
    torch.testing.assert_close(classifier(FEATS, TEXTS), plain)


def test_bad_values():
    with pytest.raises(ValueError, match="mapper is 'deep'; choose one of"):
        TextClassifier(4, mapper="deep")
    with pytest.raises(ValueError, match="logit_scale is 0.0; give a positive"):
        TextClassifier(4, logit_scale=0.0)
