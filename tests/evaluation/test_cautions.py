"""Sentences on limits of the numbers of an evaluation."""

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.engine import evaluate
from ovseg_d2.evaluation import (
    ClassificationEvaluator,
    LinearProbeEvaluator,
    MaskCropEvaluator,
    RetrievalEvaluator,
)
from ovseg_d2.evaluation.cautions import cautions_of_classes


class AllFirst(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, batched_inputs):
        sizes = [(self.num_classes, d["height"], d["width"]) for d in batched_inputs]
        return [{"sem_seg": torch.eye(*size[:1])[0][:, None, None].expand(size)} for size in sizes]


@pytest.fixture
def warnings_of(toy_dataset, tmp_path, caplog):
    def run(classes, labels, **metadata):
        name = toy_dataset("toy_odd", classes, labels=[np.array(m) for m in labels], **metadata)
        opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
        cfg = load_config(None, [*opts, "DATASETS.TEST", f"('{name}',)"])
        numbers = evaluate(cfg, AllFirst(len(classes)))["sem_seg"]
        texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        return numbers["mIoU"], texts

    return run


@pytest.mark.parametrize(
    ("classes", "labels", "mean", "sentences"),
    [
        (["a", "b"], [[[0, 0]], [[1, 255]]], 100 / 3, []),
        (
            ["a", "b", "c", "d"],
            [[[0, 0]], [[2, 0]]],
            75 / 2,
            [
                ": 2 of 4 classes occur in no label of the 2 images and are left out of mIoU: b, d",
            ],
        ),
        (
            ["background", "cat"],
            [[[0, 0, 0, 255]], [[255, 255, 0, 255]]],
            100,
            [
                ": labels hold 0, which is background, and 255, which is ignored (50.0 % of the "
                "pixels), like masks in black and white; the ignored pixels do not count, so mIoU "
                "is that of background alone: write class ids, such as 1 for cat, in place of 255"
            ],
        ),
        (
            ["cat"],
            [[[0, 0, 255]]],
            100,
            [
                " has one class, cat, and every prediction is that class, so mIoU says nothing "
                "about the model; add the other classes, such as background"
            ],
        ),
        (
            ["a", "b"],
            [[[0, 0]]],
            100,
            [
                ": 1 of 2 classes occur in no label of the 1 images and are left out of mIoU: b",
                ": mIoU is that of one class, a",
            ],
        ),
        (
            ["a", "b"],
            [[[255, 255]], [[255]]],
            np.nan,
            [": no label of the 2 images is of a class, so there is no mIoU"],
        ),
    ],
    ids=["all classes", "absent", "black and white", "one class", "one present", "no label"],
)
def test_evaluate_warns_of_classes(warnings_of, classes, labels, mean, sentences):
    value, texts = warnings_of(classes, labels)
    assert value == pytest.approx(mean, nan_ok=True)
    assert texts == [f"dataset toy_odd{sentence}" for sentence in sentences]


def test_cautions_of_classes_names_ten():
    names = [str(number) for number in range(100)]
    counts = np.arange(100) < 2
    (text,) = cautions_of_classes("x", names, counts, unit="u", number="m", num_images=1)
    assert text.endswith("m: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more")


def test_mask_crop_cautions(toy_dataset):
    evaluator = MaskCropEvaluator(toy_dataset("toy_crops", ["a", "b"]), distributed=False)
    evaluator.reset()
    evaluator.process(
        [{"mask_class_ids": torch.tensor([1])}], [{"mask_probs": torch.tensor([[0.1, 0.9]])}]
    )
    evaluator.evaluate()
    assert [text.split(": ")[1] for text in evaluator.cautions] == [
        "1 of 2 classes occur in no label of the 1 images and are left out of class_accuracy",
        "class_accuracy is that of one class, b",
    ]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["a"], ["every prediction is right: accuracy does not judge the model"]),
        (["a", "b"], ["all of them are among the best 5: accuracy_top5 is 100"]),
        (list("abcdef"), []),
    ],
)
def test_classification_cautions(toy_dataset, classes, words):
    name = toy_dataset("toy_images", classes)
    evaluator = ClassificationEvaluator(name, category_fn=lambda _: 0, distributed=False)
    evaluator.process([{}], [{"class_scores": torch.zeros(len(classes))}])
    evaluator.evaluate()
    assert len(evaluator.cautions) == len(words)
    assert all(word in text for word, text in zip(words, evaluator.cautions, strict=True))


def test_linear_probe_caution(toy_dataset):
    name = toy_dataset("toy_probe", ["a", "b"])
    evaluator = LinearProbeEvaluator(name, category_fn=lambda _: 1, distributed=False)
    for part in ("fit", "test"):
        evaluator.process([{"probe_part": part}], [{"image_feats": torch.rand(3)}])
    assert evaluator.evaluate()["linear_probe"]["accuracy"] == 100
    assert "all images to fit a probe with are of one class" in evaluator.cautions[0]


def test_retrieval_caution():
    evaluator = RetrievalEvaluator(distributed=False)
    for number in range(6):
        text = {"captions": [f"text {number % 2}"], "text_embeds": torch.eye(2)[number % 2][None]}
        evaluator.process([{}], [{"image_embeds": torch.rand(2), **text}])
    numbers = evaluator.evaluate()["retrieval"]
    (caution,) = evaluator.cautions
    certain = ["image_to_text_R@5", "image_to_text_R@10", "text_to_image_R@10"]
    assert f"6 images with 2 texts are too few for {', '.join(certain)}, which" in caution
    assert all(numbers[name] == 100 for name in certain)


def test_evaluate_numbers_classes_of_one_name(toy_dataset, tmp_path):
    labels = [np.array([[0, 1, 1, 2]])]
    name = toy_dataset("toy_twice", ["bow", "bow", "cat"], labels=labels)
    opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
    cfg = load_config(None, [*opts, "DATASETS.TEST", f"('{name}',)"])
    numbers = evaluate(cfg, AllFirst(3))["sem_seg"]
    iou = {key: numbers[key] for key in numbers if key.startswith("IoU-")}
    assert iou == {"IoU-bow": 25, "IoU-bow (2)": 0, "IoU-cat": 0}
    assert numbers["ACC-bow"] == 100 and numbers["ACC-bow (2)"] == 0
    evaluator = MaskCropEvaluator(name, distributed=False)
    evaluator.process(
        [{"mask_class_ids": torch.tensor([0, 1])}], [{"mask_probs": torch.eye(3)[:1].repeat(2, 1)}]
    )
    of_masks = evaluator.evaluate()["mask_crops"]
    assert (of_masks["accuracy-bow"], of_masks["accuracy-bow (2)"]) == (100, 0)
    assert len(DatasetCatalog.get(name)) == 1
