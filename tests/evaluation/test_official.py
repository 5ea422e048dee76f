"""Numbers as the papers' own code counts them, against loops over pixels and counts by hand."""

import math

import numpy as np
import pytest
import torch

from ovseg_d2.data.readers import read_labels
from ovseg_d2.evaluation import OVSegSemSegEvaluator, plain_key
from ovseg_d2.evaluation.official import official_numbers
from ovseg_d2.vocab import load_vocabulary

IGNORE = 255
# Predicted in rows, labelled in columns, ignored last: class 2 is predicted and never labelled,
# class 3 neither; the last row is a channel beyond the classes.
COUNTS = np.array(
    [
        [6, 1, 0, 0, 9],
        [2, 3, 0, 0, 0],
        [1, 1, 0, 0, 4],
        [0, 0, 0, 0, 7],
        [3, 0, 0, 0, 0],
    ]
)


def mmseg_iou(predictions, label_maps, num_classes: int) -> list[float]:
    """IoU of each class as mmseg counts it: image by image, class by class; NaN without a union."""
    hits, union = np.zeros(num_classes), np.zeros(num_classes)
    for predicted, labels in zip(predictions, label_maps, strict=True):
        counted = labels != IGNORE
        for k in range(num_classes):
            of_prediction, of_labels = (predicted == k) & counted, (labels == k) & counted
            hits[k] += (of_prediction & of_labels).sum()
            union[k] += (of_prediction | of_labels).sum()
    return [
        100 * hit / total if total else math.nan for hit, total in zip(hits, union, strict=True)
    ]


def test_official_means_by_hand():
    numbers = official_numbers(COUNTS)
    # IoU without the channel beyond: 6 of 10, 3 of 7 and 0 of 2; class 3 has no union.
    assert numbers["mIoU_ovseg"] == pytest.approx(100 * (6 / 10 + 3 / 7 + 0) / 3)
    # mmseg misses the 3 pixels of class 0 that are predicted as no class: 6 of 13.
    assert numbers["mIoU_mmseg"] == pytest.approx(100 * (6 / 13 + 3 / 7 + 0) / 3)
    assert set(numbers) == {"mIoU_ovseg", "mIoU_mmseg"}


def test_official_numbers_of_sets_by_hand():
    numbers = official_numbers(COUNTS, {"seen": [0, 2], "rare": (3,)})
    seen, unseen = 100 * (6 / 10 + 0) / 2, 100 * 3 / 7  # class 3 is neither labelled nor predicted
    expected = {"seen": (seen, 100 * 6 / 9), "unseen": (unseen, 100 * 3 / 5)}
    for name, (miou, accuracy) in expected.items():
        assert numbers[f"mIoU_ovseg_{name}"] == pytest.approx(miou)
        assert numbers[f"pAcc_ovseg_{name}"] == pytest.approx(accuracy)
    assert numbers["hIoU_ovseg_seen"] == pytest.approx(2 / (1 / seen + 1 / unseen))
    assert math.isnan(numbers["mIoU_ovseg_rare"]) and math.isnan(numbers["pAcc_ovseg_rare"])
    assert "mIoU_ovseg_unrare" not in numbers


def test_official_numbers_keep_a_set_named_unseen():
    numbers = official_numbers(COUNTS, {"unseen": [1, 2], "seen": [0]})
    assert numbers["mIoU_ovseg_unseen"] == pytest.approx(100 * (3 / 7 + 0) / 2)
    assert numbers["hIoU_ovseg_seen"] == pytest.approx(2 * 60 * (150 / 7) / (60 + 150 / 7))


def test_official_numbers_without_labels():
    counts = np.zeros((3, 3), dtype=np.int64)
    counts[0, 2] = 5  # all labels are ignored
    assert all(math.isnan(value) for value in official_numbers(counts, {"base": [0]}).values())


@pytest.fixture
def evaluated(toy_dataset):
    """Evaluate predicted class ids against label maps."""

    def evaluate(classes, label_maps, predictions):
        name = toy_dataset(f"ovseg_official_{len(label_maps)}", classes, labels=label_maps)
        evaluator = OVSegSemSegEvaluator(name, distributed=False, sem_seg_loading_fn=read_labels)
        evaluator.reset()
        for file, predicted in zip(
            sorted(evaluator.input_file_to_gt_file), predictions, strict=True
        ):
            scores = torch.eye(len(classes))[torch.from_numpy(predicted)].permute(2, 0, 1)
            evaluator.process([{"file_name": file}], [{"sem_seg": scores}])
        return evaluator.evaluate()["sem_seg"]

    return evaluate


def test_evaluator_has_the_papers_conventions(evaluated):
    """VOC without background: ignored pixels do not count, unlabelled predicted classes do."""
    rng = np.random.default_rng(0)
    classes = list(load_vocabulary("voc20").names)
    label_maps = [rng.choice([0, 1, 2, 14, IGNORE], (6, 7)) for _ in range(3)]
    predictions = [rng.choice([0, 1, 2, 14, 19], (6, 7)) for _ in range(3)]
    numbers = evaluated(classes, label_maps, predictions)
    iou = mmseg_iou(predictions, label_maps, 20)
    assert numbers["mIoU_mmseg"] == numbers["mIoU_ovseg"] == pytest.approx(np.nanmean(iou))
    labelled = [iou[k] for k in (0, 1, 2, 14)]
    assert numbers["mIoU"] == pytest.approx(np.mean(labelled))
    assert numbers["mIoU_mmseg"] == pytest.approx(numbers["mIoU"] * 4 / 5)


def test_background_is_one_of_the_classes(evaluated):
    """SCLIP's VOC with background: its IoU is one of the mean."""
    classes = list(load_vocabulary("voc21").names)
    labels, predicted = np.array([[0, 0, 0, 1, 1]]), np.array([[0, 0, 1, 1, 0]])
    numbers = evaluated(classes, [labels], [predicted])
    assert numbers["mIoU_mmseg"] == numbers["mIoU"] == pytest.approx(100 * (2 / 4 + 1 / 3) / 2)


def test_images_without_labels_change_no_number(evaluated):
    labels, predicted = np.array([[0, 1, 1]]), np.array([[0, 1, 0]])
    ignored = np.full((2, 2), IGNORE)
    alone = evaluated(["a", "b", "c"], [labels], [predicted])
    both = evaluated(["a", "b", "c"], [labels, ignored], [predicted, np.full((2, 2), 2)])
    assert (alone["images"], both["images"]) == (1, 2)
    for key in ("mIoU", "mIoU_ovseg", "mIoU_mmseg", "pACC"):
        assert both[key] == alone[key] == pytest.approx(50 if key != "pACC" else 200 / 3)


@pytest.mark.parametrize("name", ["ovseg", "forgiving"])
def test_evaluator_refuses_class_sets_with_the_name_of_a_number(toy_dataset, name):
    dataset = toy_dataset("ovseg_official", ["a", "b"], class_sets={name: [0]})
    with pytest.raises(ValueError, match=f"class set '{name}', and mIoU_{name} is another number"):
        OVSegSemSegEvaluator(dataset, sem_seg_loading_fn=read_labels)


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("mIoU_ovseg", "mIoU"),
        ("mIoU_mmseg", "mIoU"),
        ("mIoU_ovseg_my-set", "mIoU_my-set"),
        ("hIoU_ovseg_seen", "hIoU"),
        ("pAcc_ovseg_seen", "pAcc_seen"),
        ("mIoU", None),
        ("mIoU_my_ovseg", None),
    ],
)
def test_plain_key(key, plain):
    assert plain_key(key) == plain
