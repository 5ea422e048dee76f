"""OVSeg's two oracles, and a sweep over lambda, on images whose labels are known."""

import json

import pytest
import torch

from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_test_loader
from ovseg_d2.data.readers import read_labels
from ovseg_d2.engine.ceilings import with_ceiling
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.lambda_sweep import LambdaSweep, lambda_key
from ovseg_d2.engine.ovseg_ceilings import OVSegTrueClasses
from ovseg_d2.ops import overlap_labels
from ovseg_d2.systems import MaskProposals
from ovseg_d2.text import ClassTexts

WORDS = ["red star", "grass", "blue dots"]


def inputs(cfg):
    return [each for batch in build_test_loader(cfg, cfg.DATASETS.TEST[0]) for each in batch]


def test_true_masks_have_one_class_each(tiny_ovseg):
    cfg, model = tiny_ovseg()
    oracle = with_ceiling("gt_masks", model)
    for each in inputs(cfg):
        (found,) = oracle([each])
        labels = torch.from_numpy(read_labels(each["sem_seg_file_name"]))
        image, texts = each["image"].float(), model.text_bank.embed(WORDS)
        for number in range(3):
            mask = labels == number
            if mask.any():
                q = model.ovseg.classifier(image, mask[None], ClassTexts(texts)).probs[0]
                expected = q[:, None].expand(3, int(mask.sum()))
                torch.testing.assert_close(found["sem_seg"][:, mask], expected)
        assert not found["sem_seg"][:, labels == 255].any()


def test_true_classes_of_proposals(tiny_ovseg):
    cfg, model = tiny_ovseg()
    oracle = with_ceiling("gt_labels", model)
    assert isinstance(oracle, OVSegTrueClasses)
    for each in inputs(cfg):
        labels = torch.from_numpy(read_labels(each["sem_seg_file_name"]))
        masks = model.propose(each).masks
        names = overlap_labels(masks > 0.5, labels, 3)
        expected = torch.zeros(3, *labels.shape)
        for mask, name in zip(masks, names.tolist(), strict=True):
            if name >= 0:
                expected[name] += mask
        torch.testing.assert_close(oracle([each])[0]["sem_seg"], expected)


def test_true_classes_of_perfect_proposals_give_100(tiny_ovseg, monkeypatch):
    cfg, model = tiny_ovseg("TEST.CEILING", "gt_labels")

    def propose(batched_input):
        labels = torch.from_numpy(read_labels(batched_input["sem_seg_file_name"]))
        return MaskProposals(torch.stack([labels == 2, labels == 0, labels == 1]))

    monkeypatch.setattr(model, "propose", propose)
    assert evaluate(cfg, model)["sem_seg"]["mIoU"] == 100


def test_with_ceiling_refuses_other_models(tiny_ovseg):
    _, model = tiny_ovseg()
    with pytest.raises(ValueError, match="'patch' is not one of gt_masks, gt_labels, which OVSeg"):
        with_ceiling("patch", model)


def test_sweep_equals_separate_evaluations(tiny_ovseg, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    opts = ("TEST.OWN_WORDS", "True", "MODEL.OVSEG.LAMBDA", "0.6")
    cfg, model = tiny_ovseg(*opts, "TEST.LAMBDAS", "[0.0, 0.3, 1.0]")
    asked = []
    propose = type(model).propose
    monkeypatch.setattr(type(model), "propose", lambda *args: asked.append(1) or propose(*args))
    found = evaluate(cfg, model)["sem_seg"]
    (table,) = [each.getMessage() for each in caplog.records if "results on" in each.getMessage()]
    head, columns = table.splitlines()[:2]
    assert "method OVSeg, 2 images" in head and "OrderedDict" not in caplog.text
    lambdas = ["lambda 0.6", "lambda 0", "lambda 0.3", "lambda 1"]
    assert [each.strip() for each in columns.split("|")[2:-1]] == lambdas
    assert len(asked) == len(DatasetCatalog.get(cfg.DATASETS.TEST[0]))
    monkeypatch.undo()
    for lam in (0.0, 0.3, 0.6, 1.0):
        alone_cfg, alone = tiny_ovseg(*opts[:2], "MODEL.OVSEG.LAMBDA", str(lam))
        alone.load_state_dict(model.state_dict())
        expected = evaluate(alone_cfg, alone)["sem_seg"]
        for key in ("mIoU", "mIoU_all", "mIoU_own_words"):
            name = key if lam == 0.6 else lambda_key(key, lam)
            assert found[name] == pytest.approx(expected[key], abs=1e-6)
    evaluate(cfg, model)
    (kept,) = json.loads((tmp_path / "output" / "results.json").read_text()).values()
    assert {"mIoU", "mIoU_lambda_0", "mIoU_all_lambda_0.3", "mIoU_own_words_lambda_1"} <= set(kept)


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (("MODEL.OVSEG.DEMO", "True"), "has no lambda to change"),
        (("MODEL.OVSEG.PROPOSALS", "felzenszwalb"), "has no lambda to change"),
        (
            ("TEST.CEILING", "gt_labels"),
            "a OVSegTrueClasses has no lambda to change; leave it empty",
        ),
    ],
)
def test_sweep_refuses_models_without_lambda(tiny_ovseg, opts, words):
    cfg, model = tiny_ovseg("TEST.LAMBDAS", "[0.5]", *opts)
    with pytest.raises(ValueError, match=words):
        evaluate(cfg, model)
    with pytest.raises(ValueError, match="a Linear has no lambda to change"):
        LambdaSweep(torch.nn.Linear(1, 1), [0.5])


def test_sweep_refuses_lambda_outside_its_range(tiny_ovseg):
    _, model = tiny_ovseg()
    with pytest.raises(ValueError, match="TEST.LAMBDAS has 1.5; give numbers from 0.0 to 1.0"):
        LambdaSweep(model, [0.5, 1.5])
