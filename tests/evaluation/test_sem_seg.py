"""The numbers of OVSegSemSegEvaluator against slow loops, and its errors."""

import itertools
import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.d2.evaluation import SemSegEvaluator
from ovseg_d2.data.readers import read_labels
from ovseg_d2.evaluation import OVSegSemSegEvaluator
from ovseg_d2.evaluation.means import means_of_sets
from ovseg_d2.ops import MapCorrection, correct_scores

CLASSES = ["base a", "novel", "base b", "withheld"]
SETS = {"base": [0, 2], "novel": [1], "withheld": [3]}
IGNORE = 255


@pytest.fixture(autouse=True)
def _quiet():
    """Keep detectron2's table of all numbers out of the log of failed tests."""
    logger = logging.getLogger("detectron2")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def label_maps(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    maps = [rng.choice([0, 1, 2, 3, IGNORE], (6, 5 + n)) for n in range(count)]
    maps[-1][maps[-1] == 1] = 0  # one image has no novel pixels
    return maps


def evaluate(name: str, maps, scores, **kwargs) -> dict[str, float]:
    kwargs = {"distributed": False, "sem_seg_loading_fn": read_labels, **kwargs}
    evaluator = OVSegSemSegEvaluator(name, **kwargs)
    evaluator.reset()
    for file_name, sem_seg in zip(sorted(evaluator.input_file_to_gt_file), scores, strict=True):
        evaluator.process([{"file_name": file_name}], [{"sem_seg": sem_seg}])
    return evaluator.evaluate()["sem_seg"]


def iou_by_loops(maps, scores, *, own_words: bool) -> list[float]:
    """Count pixel by pixel; in percent, NaN for classes without labels."""
    hits, predicted, labelled = [0] * 4, [0] * 4, [0] * 4
    for labels, sem_seg in zip(maps, scores, strict=True):
        words = sorted(set(labels.ravel().tolist()) - {IGNORE}) if own_words else range(4)
        for y, x in itertools.product(*map(range, labels.shape)):
            if labels[y, x] == IGNORE:
                continue
            best = max(words, key=sem_seg[:, y, x].tolist().__getitem__)
            predicted[best] += 1
            labelled[labels[y, x]] += 1
            hits[best] += best == labels[y, x]
    return [
        100 * hits[k] / (predicted[k] + labelled[k] - hits[k]) if labelled[k] else math.nan
        for k in range(4)
    ]


def mean(values) -> float:
    return float(np.nanmean(values))


@pytest.mark.parametrize("distributed", [False, True])
def test_evaluate_class_sets_and_own_words(toy_dataset, distributed):
    maps = label_maps()
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    scores = [torch.randn(4, *labels.shape) for labels in maps]
    numbers = evaluate(name, maps, scores, own_words=True, distributed=distributed)
    for suffix, own_words in (("", False), ("_own_words", True)):
        iou = iou_by_loops(maps, scores, own_words=own_words)
        base, novel = mean([iou[0], iou[2]]), iou[1]
        expected = {
            "mIoU": mean(iou),
            "mIoU_base": base,
            "mIoU_novel": novel,
            "mIoU_withheld": iou[3],
            "mIoU_base_novel": mean(iou[:3]),
            "hIoU": 2 * base * novel / (base + novel),
        }
        assert {key: numbers[key + suffix] for key in expected} == pytest.approx(expected)
    assert numbers["mIoU_own_words"] > numbers["mIoU"]
    for of_set, ids in SETS.items():
        own_pixels = [np.where(np.isin(labels, ids), labels, IGNORE) for labels in maps]
        iou = iou_by_loops(own_pixels, scores, own_words=False)
        assert numbers[f"mIoU_{of_set}_own_pixels"] == pytest.approx(mean(iou))
    assert numbers["images"] == 3
    assert numbers["seconds"] >= 0


def test_evaluate_keeps_the_numbers_of_detectron2(toy_dataset):
    maps = label_maps()
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    scores = [torch.randn(4, *labels.shape) for labels in maps]
    plain = SemSegEvaluator(name, distributed=False, sem_seg_loading_fn=read_labels)
    plain.reset()
    for file_name, sem_seg in zip(sorted(plain.input_file_to_gt_file), scores, strict=True):
        plain.process([{"file_name": file_name}], [{"sem_seg": sem_seg}])
    expected = plain.evaluate()["sem_seg"]
    numbers = evaluate(name, maps, scores, boundary_iou=True)
    assert {"mIoU", "fwIoU", "pACC", "mACC", "IoU-novel"} <= set(expected)
    assert {key: numbers[key] for key in expected} == pytest.approx(expected, nan_ok=True)
    # Without the boundary metrics all others stay.
    numbers = evaluate(name, maps, scores)
    others = {key for key in expected if "BoundaryIoU" not in key and "B-Iou" not in key}
    assert len(others) == 12 and not [key for key in numbers if "B-Iou" in key]
    assert {key: numbers[key] for key in others} == pytest.approx(
        {key: expected[key] for key in others}, nan_ok=True
    )


def test_evaluate_without_sets_adds_images_and_seconds(toy_dataset):
    maps = label_maps()
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps)
    numbers = evaluate(name, maps, [torch.randn(4, *labels.shape) for labels in maps])
    of_sets = [key for key in numbers if key.startswith(("mIoU_", "hIoU")) or "own_words" in key]
    assert of_sets == ["mIoU_ovseg", "mIoU_mmseg"]
    assert {"images", "seconds"} <= set(numbers)


def test_evaluate_class_names_need_not_be_unique(toy_dataset):
    maps = label_maps()
    name = toy_dataset("ovseg_eval", ["toy", "toy", "toy", "car"], labels=maps, class_sets=SETS)
    scores = [torch.randn(4, *labels.shape) for labels in maps]
    iou = iou_by_loops(maps, scores, own_words=False)
    numbers = evaluate(name, maps, scores)
    assert numbers["mIoU_base"] == pytest.approx(mean([iou[0], iou[2]]))
    assert numbers["mIoU_novel"] == pytest.approx(iou[1])


def test_class_names_of_synonym_lists(toy_dataset):
    names = [["sky", "cloud"], "wall, brick"]
    evaluator = OVSegSemSegEvaluator(
        toy_dataset("ovseg_toy_lists", names), distributed=False, sem_seg_loading_fn=read_labels
    )
    assert evaluator._class_names == ["sky, cloud", "wall, brick"]


def test_own_words_exclude_a_background_channel(toy_dataset):
    """detectron2 leaves out pixels of a channel beyond the classes; own words classify them."""
    maps = [np.array([[0, 1], [2, 3]])]
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    scores = torch.zeros(5, 2, 2)
    scores[:4] = torch.eye(4).view(4, 2, 2)
    scores[:, 0, 0] = torch.tensor([0.3, 0.5, 0.4, 0.0, 9.0])
    numbers = evaluate(name, maps, [scores], own_words=True)
    assert math.isnan(numbers["IoU-base a"])
    assert numbers["mIoU"] == 100
    # Of the image's own words the pixel takes "novel", which is wrong: 0, 1 of 2, 1 and 1.
    assert numbers["mIoU_own_words"] == pytest.approx(100 * (0 + 0.5 + 1 + 1) / 4)


def test_evaluate_image_without_labelled_pixels(toy_dataset):
    maps = [np.full((3, 3), IGNORE), np.array([[0, 1, 2]])]
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    scores = [torch.randn(4, 3, 3), torch.eye(4)[:, None, :3]]
    numbers = evaluate(name, maps, scores, own_words=True)
    assert numbers["mIoU"] == numbers["mIoU_own_words"] == 100
    assert numbers["images"] == 2
    assert math.isnan(numbers["mIoU_withheld"])


def test_evaluate_gathers_all_ranks(toy_dataset, monkeypatch):
    maps = label_maps()
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    scores = [torch.randn(4, *labels.shape) for labels in maps]
    other = np.zeros((5, 5), dtype=np.int64)
    other[2, 0] = 50  # the other rank predicts class 2 for 50 pixels of class 0
    monkeypatch.setattr(
        "ovseg_d2.evaluation.sem_seg.comm.all_gather", lambda data: [data, (other, 4)]
    )
    alone = evaluate(name, maps, scores, own_words=True)
    both = evaluate(name, maps, scores, own_words=True, distributed=True)
    assert (alone["images"], both["images"]) == (3, 7)
    assert both["mIoU_base_own_words"] < alone["mIoU_base_own_words"]
    assert both["mIoU_novel_own_words"] == alone["mIoU_novel_own_words"]


def test_evaluate_returns_none_on_other_ranks(toy_dataset, monkeypatch):
    name = toy_dataset("ovseg_eval", CLASSES)
    monkeypatch.setattr(SemSegEvaluator, "evaluate", lambda self: None)
    evaluator = OVSegSemSegEvaluator(name, sem_seg_loading_fn=read_labels, own_words=True)
    evaluator.reset()
    assert evaluator.evaluate() is None


def test_reset_drops_all_counts(toy_dataset):
    maps = [np.array([[0, 1], [2, 3]])]
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    evaluator = OVSegSemSegEvaluator(
        name, distributed=False, sem_seg_loading_fn=read_labels, own_words=True
    )
    inputs = [{"file_name": next(iter(evaluator.input_file_to_gt_file))}]
    for scores in (torch.randn(4, 2, 2), torch.eye(4).view(4, 2, 2)):
        evaluator.reset()
        evaluator.process(inputs, [{"sem_seg": scores}])
        numbers = evaluator.evaluate()["sem_seg"]
    assert (numbers["images"], numbers["mIoU"], numbers["mIoU_own_words"]) == (1, 100, 100)


@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        (
            [[0, 4, IGNORE]],
            (4, 1, 3),
            r"label file .*0_labels.png holds the id 4, but dataset ovseg_eval has 4 classes and "
            r"ignores 255; map its ids to 0\.\.3 first",
        ),
        (
            [[0, 0], [0, 0], [0, 0]],
            (4, 2, 3),
            "0_labels.png is 3 x 2 pixels, its image .*0.png is 2 x 3; they must agree",
        ),
        *(
            (
                [[0, 0]],
                (count, 1, 2),
                f"0.png has {count} channels, but dataset ovseg_eval has 4 classes; segment it",
            )
            for count in (2, 6)
        ),
    ],
    ids=["id", "size", "2 channels", "6 channels"],
)
def test_process_refuses_wrong_labels_and_scores(toy_dataset, labels, shape, message):
    name = toy_dataset("ovseg_eval", CLASSES, labels=[np.array(labels)])
    with pytest.raises(ValueError, match=message):
        evaluate(name, None, [torch.zeros(shape)], own_words=True)


def test_process_missing_label_file(toy_dataset, tmp_path):
    name = toy_dataset("ovseg_eval", CLASSES, labels=[np.zeros((1, 2), dtype=int)])
    (tmp_path / "ovseg_eval" / "0_labels.png").unlink()
    with pytest.raises(FileNotFoundError, match="0_labels.png' does not exist"):
        evaluate(name, None, [torch.zeros(4, 1, 2)])


def test_evaluate_ids_beyond_8_bits(toy_dataset, tmp_path):
    classes = [str(number) for number in range(300)]
    labels = np.array([[0, 255, 299]])
    name = toy_dataset(
        "ovseg_eval", classes, labels=[labels], ignore_label=65535, class_sets={"far": [255, 299]}
    )
    file = tmp_path / "ovseg_eval" / "0_labels.png"
    Image.fromarray(labels.astype(np.uint16)).save(file)
    scores = torch.zeros(300, 1, 3)
    scores[labels[0], 0, range(3)] = 1.0
    numbers = evaluate(name, None, [scores], own_words=True)
    assert numbers["mIoU"] == numbers["mIoU_far"] == numbers["mIoU_far_own_words"] == 100


def test_means_of_sets_by_hand():
    iou = np.array([10.0, 30.0, math.nan, 60.0, math.nan])
    sets = {"base": [0, 1, 2], "novel": (3,), "withheld": [4]}
    # 2 * 20 * 60 / 80, and (10 + 30 + 60) / 3.
    expected = {"mIoU_base": 20.0, "mIoU_novel": 60.0, "hIoU": 30.0, "mIoU_base_novel": 100 / 3}
    expected["mIoU_withheld"] = math.nan
    assert means_of_sets(iou, sets) == pytest.approx(expected, nan_ok=True)


def test_means_of_sets_harmonic_mean_at_its_limits():
    sets = {"base": [0], "novel": [1]}
    assert means_of_sets(np.array([0.0, 0.0]), sets)["hIoU"] == 0
    assert means_of_sets(np.array([50.0, 0.0]), sets)["hIoU"] == 0
    # NaN is null in results.json; 0 would be the worst result.
    for iou in ([math.nan, 50.0], [50.0, math.nan], [math.nan, math.nan]):
        assert math.isnan(means_of_sets(np.array(iou), sets)["hIoU"])


def test_means_of_sets_without_base_and_novel():
    iou = np.array([1.0, 2.0])
    assert means_of_sets(iou, {}) == {}
    assert set(means_of_sets(iou, {"base": [0], "rare": [1]})) == {"mIoU_base", "mIoU_rare"}
    assert math.isnan(means_of_sets(iou, {"rare": []})["mIoU_rare"])


def test_own_words_of_a_map_correction(toy_dataset):
    """The correction is made again among each image's own words."""
    maps = label_maps()
    name = toy_dataset("ovseg_eval", CLASSES, labels=maps, class_sets=SETS)
    before = [torch.randn(4, *labels.shape) for labels in maps]
    corrections = [
        MapCorrection(torch.randint(-1, 3, labels.shape, dtype=torch.int64)) for labels in maps
    ]
    evaluator = OVSegSemSegEvaluator(
        name, distributed=False, sem_seg_loading_fn=read_labels, own_words=True
    )
    evaluator.reset()
    files = sorted(evaluator.input_file_to_gt_file)
    own = []
    for file_name, labels, scores, correction in zip(files, maps, before, corrections, strict=True):
        output = {
            "sem_seg": correct_scores(scores, correction),
            "uncorrected": scores,
            "map_correction": correction,
        }
        evaluator.process([{"file_name": file_name}], [output])
        words = sorted(set(labels.ravel().tolist()) - {IGNORE})
        own.append(torch.full_like(scores, -9.0))
        own[-1][words] = correct_scores(scores[words], correction)
    numbers = evaluator.evaluate()["sem_seg"]
    assert numbers["mIoU_own_words"] == pytest.approx(mean(iou_by_loops(maps, own, own_words=True)))
    corrected = [correct_scores(*pair) for pair in zip(before, corrections, strict=True)]
    assert numbers["mIoU"] == pytest.approx(mean(iou_by_loops(maps, corrected, own_words=False)))
