"""Accuracy of mask classification, counted by hand."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_test_loader
from ovseg_d2.engine.evaluate import build_evaluator
from ovseg_d2.evaluation import MaskCropEvaluator, OVSegSemSegEvaluator

CLASSES = ["a", "b", "c", "d", "e", "f", "g"]


@pytest.fixture
def dataset(toy_dataset):
    sets = {"base": [0, 1], "novel": [2], "with-held": [6]}
    return toy_dataset("ovseg_toy_crops", CLASSES, class_sets=sets)


def input_and_output(true_ids: list[int], ranks: list[int]) -> tuple[dict, dict]:
    """Input and output of an image whose masks have their true class at the given ranks, from 0."""
    probs = torch.zeros(len(true_ids), len(CLASSES))
    for row, (true_id, rank) in enumerate(zip(true_ids, ranks, strict=True)):
        others = [number for number in range(len(CLASSES)) if number != true_id]
        for place, number in enumerate([*others[:rank], true_id, *others[rank:]]):
            probs[row, number] = 10 - place
    ids = torch.tensor(true_ids, dtype=torch.int64)
    return {"file_name": "x.png", "mask_class_ids": ids}, {"mask_probs": probs}


def test_evaluate_by_hand(dataset):
    evaluator = MaskCropEvaluator(dataset)
    for true_ids, ranks in (([0, 0, 0, 1], [0, 0, 4, 5]), ([2, 0], [0, 0]), ([], [])):
        batched_input, output = input_and_output(true_ids, ranks)
        evaluator.process([batched_input], [output])
    (task, numbers), *others = evaluator.evaluate().items()
    assert task == "mask_crops" and not others
    assert numbers["accuracy"] == pytest.approx(100 * 4 / 6)
    assert numbers["accuracy_top5"] == pytest.approx(100 * 5 / 6)
    # a: 3 of 4, b: 0 of 1, c: 1 of 1.
    assert numbers["class_accuracy"] == pytest.approx((75 + 0 + 100) / 3)
    assert numbers["class_accuracy_base"] == pytest.approx(37.5)
    assert numbers["class_accuracy_novel"] == 100
    assert numbers["class_accuracy_base_novel"] == pytest.approx(175 / 3)
    assert math.isnan(numbers["class_accuracy_with-held"])
    assert numbers["harmonic_accuracy"] == pytest.approx(2 * 37.5 * 100 / 137.5)
    assert (numbers["accuracy-a"], numbers["accuracy-c"]) == (75, 100)
    assert (numbers["masks"], numbers["images"]) == (6, 3)
    evaluator.reset()
    empty = evaluator.evaluate()["mask_crops"]
    assert empty["masks"] == 0 and math.isnan(empty["accuracy"])


def test_process_refuses_other_outputs(dataset):
    evaluator = MaskCropEvaluator(dataset)
    batched_input, _ = input_and_output([0], [0])
    message = "the model returns sem_seg; set it to segmentation, or"
    with pytest.raises(ValueError, match=message):
        evaluator.process([batched_input], [{"sem_seg": torch.zeros(7, 2, 2)}])
    with pytest.raises(ValueError, match="scores of 3 classes, but dataset ovseg_toy_crops has 7"):
        evaluator.process([batched_input], [{"mask_probs": torch.zeros(1, 3)}])


def test_task_chooses_mapper_and_evaluator(toy_dataset):
    labels = np.array([[0, 0, 2], [2, 255, 9]])
    name = toy_dataset("ovseg_toy_task", ["a", "b", "c"], labels=[labels])
    cfg = load_config(None, ["TEST.TASK", "mask_crops"])
    assert isinstance(build_evaluator(cfg, name), MaskCropEvaluator)
    assert isinstance(build_evaluator(load_config(), name), OVSegSemSegEvaluator)
    ((sample,),) = build_test_loader(cfg, name)
    # Ignored pixels and ids that are no class have no mask.
    assert sample["mask_class_ids"].tolist() == [0, 2]
    assert (sample["masks"].numpy() == np.stack([labels == 0, labels == 2])).all()
    assert "masks" not in next(iter(build_test_loader(load_config(), name)))[0]
    larger = load_config(None, ["TEST.TASK", "mask_crops", "INPUT.MIN_SIZE_TEST", "4"])
    ((sample,),) = build_test_loader(larger, name)
    assert sample["masks"].shape == (2, *sample["image"].shape[1:]) == (2, 4, 6)
    assert (sample["masks"][0, :2, :4]).all() and sample["masks"][0].sum() == 8
    with pytest.raises(ValueError, match="TEST.TASK is 'crops'; it takes one of 'segmentation'"):
        build_test_loader(load_config(None, ["TEST.TASK", "crops"]), name)


def test_truth_masks_refuse_labels_of_another_size(toy_dataset):
    name = toy_dataset("ovseg_toy_sizes", ["a"])
    Image.new("L", (3, 3)).save(DatasetCatalog.get(name)[0]["sem_seg_file_name"])
    cfg = load_config(None, ["TEST.TASK", "mask_crops"])
    with pytest.raises(ValueError, match="is 3 x 3 pixels, its image .* they must agree"):
        list(build_test_loader(cfg, name))
