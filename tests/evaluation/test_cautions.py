"""Numbers that mean less than they seem to are said to."""

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
        sizes = [(self.num_classes, each["height"], each["width"]) for each in batched_inputs]
        return [{"sem_seg": torch.eye(*size[:1])[0][:, None, None].expand(size)} for size in sizes]


@pytest.fixture
def warnings_of(toy_dataset, tmp_path, caplog):
    def run(classes, labels, **metadata):
        name = toy_dataset(
            "toy_odd", classes, labels=[np.array(each) for each in labels], **metadata
        )
        opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
        cfg = load_config(None, [*opts, "DATASETS.TEST", f"('{name}',)"])
        found = evaluate(cfg, AllFirst(len(classes)))["sem_seg"]
        texts = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        return found["mIoU"], texts

    return run


def test_nothing_is_said_where_every_class_occurs(warnings_of):
    assert warnings_of(["a", "b"], [[[0, 0]], [[1, 255]]]) == (pytest.approx(100 / 3), [])


def test_classes_in_no_label_are_named_and_counted(warnings_of):
    mean, texts = warnings_of(["a", "b", "c", "d"], [[[0, 0]], [[2, 0]]])
    assert mean == pytest.approx(75 / 2)
    assert texts == [
        "dataset toy_odd: 2 of 4 classes occur in no label of the 2 images and are left out of "
        "mIoU: b, d"
    ]


def test_masks_in_black_and_white(warnings_of):
    mean, texts = warnings_of(["background", "cat"], [[[0, 0, 0, 255]], [[255, 255, 0, 255]]])
    assert mean == 100
    assert texts == [
        "dataset toy_odd: labels hold 0, which is background, and 255, which is ignored (50.0 % of "
        "the pixels), like masks in black and white; the ignored pixels do not count, so mIoU is "
        "that of background alone: write class ids, such as 1 for cat, in place of 255"
    ]


def test_a_set_of_one_class(warnings_of):
    mean, texts = warnings_of(["cat"], [[[0, 0, 255]]])
    assert mean == 100
    assert texts == [
        "dataset toy_odd has one class, cat, and every answer is that class, so mIoU says nothing "
        "of the model; add the other classes, such as background"
    ]


def test_one_class_in_the_labels(warnings_of):
    mean, texts = warnings_of(["a", "b"], [[[0, 0]]])
    assert mean == 100
    assert texts[1:] == ["dataset toy_odd: mIoU is that of one class, a"]


def test_labels_without_any_class(warnings_of):
    mean, texts = warnings_of(["a", "b"], [[[255, 255]], [[255]]])
    assert np.isnan(mean)
    assert texts == ["dataset toy_odd: no label of the 2 images is of a class, so there is no mIoU"]


def test_many_names_are_cut_short():
    names = [str(number) for number in range(100)]
    counts = np.arange(100) < 2
    (text,) = cautions_of_classes("x", names, counts, unit="u", number="m", num_images=1)
    assert text.endswith("m: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more")


def test_masks_of_classes_that_do_not_occur(toy_dataset):
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
        (["a"], ["every answer is that class: accuracy says nothing of the model"]),
        (["a", "b"], ["all of them are among the best 5: accuracy_top5 is 100"]),
        (list("abcdef"), []),
    ],
)
def test_images_of_few_classes(toy_dataset, classes, words):
    name = toy_dataset("toy_images", classes)
    evaluator = ClassificationEvaluator(name, category_fn=lambda _: 0, distributed=False)
    evaluator.process([{}], [{"class_scores": torch.zeros(len(classes))}])
    evaluator.evaluate()
    assert len(evaluator.cautions) == len(words)
    assert all(word in text for word, text in zip(words, evaluator.cautions, strict=True))


def test_a_probe_of_one_class(toy_dataset):
    name = toy_dataset("toy_probe", ["a", "b"])
    evaluator = LinearProbeEvaluator(name, category_fn=lambda _: 1, distributed=False)
    for part in ("fit", "test"):
        evaluator.process([{"probe_part": part}], [{"image_feats": torch.rand(3)}])
    found = evaluator.evaluate()["linear_probe"]
    assert found["accuracy"] == 100
    assert "all images to fit a probe with are of one class" in evaluator.cautions[0]


def test_retrieval_among_few():
    evaluator = RetrievalEvaluator(distributed=False)
    for number in range(6):
        text = {"captions": [f"text {number % 2}"], "text_embeds": torch.eye(2)[number % 2][None]}
        evaluator.process([{}], [{"image_embeds": torch.rand(2), **text}])
    found = evaluator.evaluate()["retrieval"]
    (caution,) = evaluator.cautions
    certain = ["image_to_text_R@5", "image_to_text_R@10", "text_to_image_R@10"]
    assert f"6 images with 2 texts are too few for {', '.join(certain)}: whatever" in caution
    assert all(found[name] == 100 for name in certain)


def test_classes_of_one_name_keep_their_numbers(toy_dataset, tmp_path):
    labels = [np.array([[0, 1, 1, 2]])]
    name = toy_dataset("toy_twice", ["bow", "bow", "cat"], labels=labels)
    opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
    cfg = load_config(None, [*opts, "DATASETS.TEST", f"('{name}',)"])
    found = evaluate(cfg, AllFirst(3))["sem_seg"]
    iou = {key: found[key] for key in found if key.startswith("IoU-")}
    assert iou == {"IoU-bow": 25, "IoU-bow (2)": 0, "IoU-cat": 0}
    assert found["ACC-bow"] == 100 and found["ACC-bow (2)"] == 0
    evaluator = MaskCropEvaluator(name, distributed=False)
    evaluator.process(
        [{"mask_class_ids": torch.tensor([0, 1])}], [{"mask_probs": torch.eye(3)[:1].repeat(2, 1)}]
    )
    of_masks = evaluator.evaluate()["mask_crops"]
    assert (of_masks["accuracy-bow"], of_masks["accuracy-bow (2)"]) == (100, 0)
    assert len(DatasetCatalog.get(name)) == 1
