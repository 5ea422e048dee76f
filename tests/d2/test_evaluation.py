"""Contract of ovseg_d2.d2.evaluation, with detectron2 and with the stand-in."""

import json
import logging
import sys

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_util
from torch import nn

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.evaluation import (
    DatasetEvaluator,
    SemSegEvaluator,
    inference_on_dataset,
    verify_results,
)

standin_only = pytest.mark.skipif(HAS_DETECTRON2, reason="goes beyond detectron2")


# --- semantic segmentation


@pytest.fixture
def build_evaluator(dataset_name):
    """Give a function that registers label maps and builds their evaluator.

    Files are virtual: image "i" has the labels gts[i].
    """

    def build(gts, class_names, evaluator_class=SemSegEvaluator, meta=None, **kwargs):
        dicts = [{"file_name": f"{i}", "sem_seg_file_name": f"gt{i}"} for i in range(len(gts))]
        if dataset_name not in DatasetCatalog:
            DatasetCatalog.register(dataset_name, lambda: dicts)
            MetadataCatalog.get(dataset_name).set(
                stuff_classes=class_names, ignore_label=255, **(meta or {})
            )

        def load(file_name, dtype):
            return np.array(gts[int(file_name.removeprefix("gt"))], dtype=dtype)

        evaluator = evaluator_class(dataset_name, sem_seg_loading_fn=load, **kwargs)
        evaluator.reset()
        return evaluator

    return build


def _score(labels, num_channels):
    """(K, H, W) scores whose argmax is ``labels``."""
    one_hot = nn.functional.one_hot(torch.as_tensor(labels).long(), num_channels)
    return one_hot.permute(2, 0, 1).float()


def _process(evaluator, preds, num_channels):
    for i, pred in enumerate(preds):
        evaluator.process([{"file_name": f"{i}"}], [{"sem_seg": _score(pred, num_channels)}])


def _check(metrics, **expected):
    for key, value in expected.items():
        assert metrics[key.replace("_", "-")] == pytest.approx(100 * value, nan_ok=True), key


def test_metrics_by_hand(build_evaluator):
    evaluator = build_evaluator([[[0, 0, 1], [1, 255, 1]]], ["sky", "sea"])
    _process(evaluator, [[[0, 1, 1], [1, 0, 0]]], 2)
    results = evaluator.evaluate()
    # sky: 1 hit of 2, 2 predicted; sea: 2 hits of 3, 3 predicted; one pixel is ignored.
    assert list(results) == ["sem_seg"]
    _check(
        results["sem_seg"],
        IoU_sky=1 / 3,
        IoU_sea=2 / 4,
        mIoU=5 / 12,
        fwIoU=2 / 5 * 1 / 3 + 3 / 5 * 1 / 2,
        ACC_sky=1 / 2,
        ACC_sea=2 / 3,
        mACC=7 / 12,
        pACC=3 / 5,
    )


def test_metrics_sum_over_images_and_batches(build_evaluator):
    evaluator = build_evaluator([[[0, 0]], [[1], [1], [0]]], ["sky", "sea"])
    inputs = [{"file_name": "0"}, {"file_name": "1"}]
    preds = [_score([[0, 1]], 2), _score([[1], [0], [0]], 2)]
    evaluator.process(inputs, [{"sem_seg": pred} for pred in preds])
    # The mean over the two images' own values would be another.
    _check(evaluator.evaluate()["sem_seg"], IoU_sky=2 / 4, IoU_sea=1 / 3, mIoU=5 / 12, pACC=3 / 5)
    evaluator.reset()
    _process(evaluator, [[[0, 0]], [[1], [1], [0]]], 2)
    _check(evaluator.evaluate()["sem_seg"], mIoU=1, fwIoU=1, mACC=1, pACC=1)


def test_class_without_ground_truth_is_left_out(build_evaluator):
    evaluator = build_evaluator([[[0, 0, 1, 1]]], ["sky", "sea", "land"])
    _process(evaluator, [[[0, 2, 1, 1]]], 3)
    metrics = evaluator.evaluate()["sem_seg"]
    # The pixel lost to land counts against sky.
    _check(metrics, IoU_sky=1 / 2, IoU_sea=1, IoU_land=np.nan, mIoU=3 / 4)
    _check(metrics, ACC_sky=1 / 2, ACC_sea=1, ACC_land=np.nan, mACC=3 / 4, pACC=3 / 4)


def test_channel_beyond_the_classes_leaves_the_denominator(build_evaluator):
    evaluator = build_evaluator([[[0, 0, 1, 1]]], ["sky", "sea"])
    _process(evaluator, [[[0, 2, 1, 0]]], 3)
    metrics = evaluator.evaluate()["sem_seg"]
    # sky: 1 hit, 1 pixel in the denominator, 2 predicted; sea: 1 hit of 2.
    _check(metrics, IoU_sky=1 / 2, IoU_sea=1 / 2, ACC_sky=1, ACC_sea=1 / 2, pACC=2 / 3)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_metrics_without_any_pixel(build_evaluator):
    evaluator = build_evaluator([[[255, 255]]], ["sky", "sea"])
    _process(evaluator, [[[0, 1]]], 2)
    metrics = evaluator.evaluate()["sem_seg"]
    assert np.isnan([metrics[key] for key in ("mIoU", "IoU-sky", "mACC", "ACC-sea", "pACC")]).all()


def test_keys_and_their_order(build_evaluator):
    pytest.importorskip("cv2", reason="detectron2 gives boundary metrics only with OpenCV")
    evaluator = build_evaluator([[[0, 1]]], ["sky", "sea"])
    _process(evaluator, [[[0, 1]]], 2)
    metrics = evaluator.evaluate()["sem_seg"]
    assert list(metrics) == [
        "mIoU",
        "fwIoU",
        *(f"{metric}-sky" for metric in ("IoU", "BoundaryIoU", "min(IoU, B-Iou)")),
        *(f"{metric}-sea" for metric in ("IoU", "BoundaryIoU", "min(IoU, B-Iou)")),
        "mACC",
        "pACC",
        "ACC-sky",
        "ACC-sea",
    ]
    assert all(isinstance(value, float) for value in metrics.values())


def test_no_boundary_metrics_for_many_classes(build_evaluator):
    names = [f"class{k}" for k in range(255)]
    evaluator = build_evaluator([[[0, 254]]], names)
    _process(evaluator, [[[0, 254]]], 255)
    metrics = evaluator.evaluate()["sem_seg"]
    assert metrics["mIoU"] == 100
    assert not any("B" in key for key in metrics)


def test_boundary_metrics_by_hand(build_evaluator):
    pytest.importorskip("cv2", reason="detectron2 gives boundary metrics only with OpenCV")
    evaluator = build_evaluator([np.ones((4, 4))], ["sky", "sea"])
    pred = np.ones((4, 4))
    pred[:, 0] = 0
    _process(evaluator, [pred], 2)
    metrics = evaluator.evaluate()["sem_seg"]
    # One pixel wide. Ground truth: the 12 outer pixels. Prediction: its ten pixels of sea that
    # touch the left column or the edge. Common are the 8 outer pixels right of that column; of the
    # pixels outside of the boundary (4 and 6) two are common.
    _check(metrics, BoundaryIoU_sea=8 / 14, IoU_sea=12 / 16, BoundaryIoU_sky=2 / 8, IoU_sky=np.nan)
    assert metrics["min(IoU, B-Iou)-sea"] == metrics["BoundaryIoU-sea"]
    assert np.isnan(metrics["min(IoU, B-Iou)-sky"])


def test_boundary_metrics_against_a_slow_loop(build_evaluator):
    pytest.importorskip("cv2", reason="detectron2 gives boundary metrics only with OpenCV")

    def find_boundary(labels):
        # The diagonal is 125 pixels, 2 % of it are 2.5, and halves go to the even neighbour; the
        # window of that radius sees zeros beyond the image.
        padded = np.pad(labels, 2)
        smallest = [
            [padded[y : y + 5, x : x + 5].min() for x in range(labels.shape[1])]
            for y in range(labels.shape[0])
        ]
        return labels - np.array(smallest)

    def draw():
        coarse = np.random.randint(0, 4, (6, 8))
        return coarse.repeat(13, axis=0)[:75].repeat(13, axis=1)[:, :100]

    gt, pred = draw(), draw()
    evaluator = build_evaluator([gt], ["a", "b", "c", "d"])
    _process(evaluator, [pred], 4)
    metrics = evaluator.evaluate()["sem_seg"]
    b_gt, b_pred = find_boundary(gt), find_boundary(pred)
    for k, name in enumerate("abcd"):
        union = ((b_gt == k) | (b_pred == k)).sum()
        expected = ((b_gt == k) & (b_pred == k)).sum() / union
        assert metrics[f"BoundaryIoU-{name}"] == pytest.approx(100 * expected)


def test_metrics_of_detectron2_itself(parity, build_evaluator, dataset_name):
    pytest.importorskip("cv2", reason="the golden values contain boundary metrics")
    case = parity("sem_seg_eval")
    subcases = [s for s in case.subcases.values() if s.args["evaluator"] == "detectron2"]
    assert len(subcases) >= 2
    for subcase in subcases:
        DatasetCatalog.pop(dataset_name, None)
        gts = [gt.numpy() for gt in subcase.inputs.list("label")]
        evaluator = build_evaluator(gts, subcase.args["class_names"])
        for i, scores in enumerate(subcase.inputs.list("sem_seg")):
            evaluator.process([{"file_name": f"{i}"}], [{"sem_seg": scores}])
        metrics = evaluator.evaluate()["sem_seg"]
        subcase.check("confusion", torch.as_tensor(evaluator._conf_matrix))
        values = [metrics[name] for name in subcase.expect["metric_names"]]
        subcase.check("values", torch.tensor(values, dtype=torch.float64))


def test_written_files(build_evaluator, tmp_path):
    pred = np.random.randint(0, 3, (6, 9)).repeat(13, axis=0).repeat(7, axis=1)
    folder = tmp_path / "inference"
    evaluator = build_evaluator(
        [np.zeros_like(pred)],
        ["sky", "sea", "land"],
        meta={"stuff_dataset_id_to_contiguous_id": {11: 0, 4: 1, 7: 2}},
        output_dir=str(folder),
    )
    _process(evaluator, [pred], 3)
    metrics = evaluator.evaluate()["sem_seg"]
    predictions = json.loads((folder / "sem_seg_predictions.json").read_text())
    assert [p["category_id"] for p in predictions] == [11, 4, 7]
    for label, prediction in enumerate(predictions):
        assert set(prediction) == {"file_name", "category_id", "segmentation"}
        assert prediction["file_name"] == "0"
        assert prediction["segmentation"]["size"] == [78, 63]
        assert np.array_equal(mask_util.decode(prediction["segmentation"]), pred == label)
    saved = torch.load(folder / "sem_seg_evaluation.pth", weights_only=False)
    assert saved.keys() == metrics.keys()
    assert saved["mIoU"] == metrics["mIoU"]


@standin_only
def test_written_metrics_need_no_trust(build_evaluator, tmp_path):
    evaluator = build_evaluator([[[0, 1]]], ["sky", "sea"], output_dir=str(tmp_path))
    _process(evaluator, [[[0, 1]]], 2)
    evaluator.evaluate()
    assert torch.load(tmp_path / "sem_seg_evaluation.pth", weights_only=True)["mIoU"] == 100


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 1], [1, 1]], "13"),  # one zero, three ones, column by column
        ([[1, 1]], "02"),
        ([[0, 0]], "2"),
        ([[0] * 33], "Q1"),  # 33 = 1 + 32 * 1: digit 1 with "more follow" is 49 + 32
        ([[0] * 16], "`0"),  # 16 alone would be read as negative
        # 2, 1, 2, then 3 - 1 and 1 - 2, of which the last is a minus one
        ([[0, 0, 1, 0, 0, 1, 1, 1, 0]], "2122O"),
    ],
)
def test_run_lengths_by_hand(build_evaluator, mask, counts):
    evaluator = build_evaluator([mask], ["sky", "sea"])
    mask = np.array(mask)
    # Where there are both, the second is that of label 1.
    encoded = evaluator.encode_json_sem_seg(mask + (1 - mask.max()), "a.png")
    assert encoded[-1]["segmentation"]["size"] == list(mask.shape)
    if mask.max():
        assert encoded[-1]["segmentation"]["counts"] == counts


def test_predictions_without_own_ids_keep_the_channel(build_evaluator):
    evaluator = build_evaluator([[[0, 1]]], ["sky", "sea"])
    encoded = evaluator.encode_json_sem_seg(np.array([[2, 0]]), "0")
    assert [prediction["category_id"] for prediction in encoded] == [0, 2]


def test_predictions_unknown_to_the_ids(build_evaluator):
    meta = {"stuff_dataset_id_to_contiguous_id": {11: 0, 4: 1}}
    evaluator = build_evaluator([[[0, 1]]], ["sky", "sea"], meta=meta)
    with pytest.raises(AssertionError, match="Label 2 is not in the metadata info"):
        _process(evaluator, [[[2, 0]]], 3)


def test_metadata_are_required(dataset_name):
    DatasetCatalog.register(dataset_name, list)
    with pytest.raises(AttributeError, match="stuff_classes"):
        SemSegEvaluator(dataset_name, sem_seg_loading_fn=None)
    MetadataCatalog.get(dataset_name).stuff_classes = ["sky"]
    with pytest.raises(AttributeError, match="ignore_label"):
        SemSegEvaluator(dataset_name, sem_seg_loading_fn=None)
    MetadataCatalog.get(dataset_name).ignore_label = 255
    SemSegEvaluator(dataset_name, sem_seg_loading_fn=None)


@standin_only
@pytest.mark.parametrize("label", [2, 254, -1])
def test_label_that_is_no_class(build_evaluator, label):
    # 2 is the channel beyond the classes: it may be predicted, but nothing is labelled so.
    evaluator = build_evaluator([[[0, label]]], ["sky", "sea"])
    with pytest.raises(ValueError, match=f"Label {label} in gt0 .*ignore_label 255"):
        _process(evaluator, [[[0, 1]]], 2)


@standin_only
def test_prediction_that_does_not_fit(build_evaluator):
    evaluator = build_evaluator([[[0, 1]]], ["sky", "sea"])
    with pytest.raises(ValueError, match=r"0 is \(1, 3\), its labels are \(1, 2\)"):
        _process(evaluator, [[[0, 1, 1]]], 2)
    with pytest.raises(ValueError, match="Channel 3"):
        _process(evaluator, [[[0, 3]]], 4)


def test_evaluator_can_be_extended(build_evaluator):
    """As the evaluators of other plugins do it: own counting, in the base's attributes."""

    class GroundTruthEvaluator(SemSegEvaluator):
        def process(self, inputs, outputs):
            for input_ in inputs:
                gt = self.sem_seg_loading_fn(
                    self.input_file_to_gt_file[input_["file_name"]], dtype=int
                )
                gt[gt == self._ignore_label] = self._num_classes
                size = self._num_classes + 1
                pairs = np.bincount((size * gt + gt).reshape(-1), minlength=size**2)
                self._conf_matrix += pairs.reshape(size, size)
                self._predictions.extend(self.encode_json_sem_seg(gt, input_["file_name"]))

    evaluator = build_evaluator([[[0, 1, 255]]], ["sky", "sea"], GroundTruthEvaluator)
    evaluator.process([{"file_name": "0"}], [None])
    metrics = evaluator.evaluate()["sem_seg"]
    _check(metrics, mIoU=1, pACC=1, IoU_sky=1)
    assert evaluator._conf_matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert len(evaluator._predictions) == 3
    # Nothing was counted for the boundary: not a number, and the plain IoU is the smaller one.
    assert np.isnan(metrics.get("BoundaryIoU-sky", np.nan))
    assert metrics.get("min(IoU, B-Iou)-sky", 100) == 100


# --- the loop


class Recorder(DatasetEvaluator):
    """Keeps what it is given, and returns it under a task of its own."""

    def __init__(self, task, record=None):
        self.task = task
        self.record = [] if record is None else record

    def reset(self):
        self.record.append("reset")

    def process(self, inputs, outputs):
        self.record.append((inputs, outputs))

    def evaluate(self):
        self.record.append("evaluate")
        return {self.task: {"count": len(self.record)}}


class Doubler(nn.Module):
    """Doubles its input, and remembers under which conditions."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.dropout = nn.Dropout()
        self.seen = []

    def forward(self, inputs):
        outputs = [self.factor * value for value in inputs]
        self.seen.append((self.training, self.dropout.training, outputs[0].requires_grad))
        return outputs


def test_loop_runs_the_model_over_the_loader():
    model, recorder = Doubler(), Recorder("task")
    results = inference_on_dataset(model, [[1.0], [2.0, 3.0]], recorder)
    assert recorder.record == ["reset", ([1.0], [2.0]), ([2.0, 3.0], [4.0, 6.0]), "evaluate"]
    assert results == {"task": {"count": 4}}
    assert model.seen == [(False, False, False)] * 2
    assert model.training
    assert model.dropout.training


def test_loop_leaves_a_model_in_eval_mode():
    model = Doubler().eval()
    inference_on_dataset(model, [[1.0]], DatasetEvaluator())
    assert not model.training


def test_loop_takes_any_callable():
    calls = []
    assert inference_on_dataset(calls.append, [[1], [2]], DatasetEvaluator()) == {}
    assert calls == [[1], [2]]


@standin_only
def test_loop_gives_the_mode_back_after_an_error():
    model = Doubler()
    with pytest.raises(TypeError):
        inference_on_dataset(model, [[None]], DatasetEvaluator())
    assert model.training


def test_loop_without_results():
    assert inference_on_dataset(len, [[1]], DatasetEvaluator()) == {}


def test_loop_logs_its_progress(d2_log, monkeypatch):
    # Caught before the rate limit, which other tests may have used up.
    progress = []
    monkeypatch.setattr(
        sys.modules[inference_on_dataset.__module__],
        "log_every_n_seconds",
        lambda lvl, msg, n, **kwargs: progress.append((lvl, msg, n)),
    )
    inference_on_dataset(len, [[i] for i in range(15)], DatasetEvaluator())
    # Five batches of warm-up and five to get a mean are not reported.
    assert [msg.split(".")[0] for _, msg, _ in progress] == [
        f"Inference done {i}/15" for i in range(11, 16)
    ]
    level, message, seconds = progress[-1]
    assert (level, seconds) == (logging.INFO, 5)
    for part in ("Dataloading: ", "Inference: ", "Eval: ", "Total: ", "ETA=0:00:00"):
        assert part in message
    assert "Start inference on 15 batches" in d2_log
    assert any(
        line.startswith("Total inference time: ") and line.endswith("per device, on 1 devices)")
        for line in d2_log
    )
    assert any(line.startswith("Total inference pure compute time: ") for line in d2_log)


def test_loop_over_a_single_batch(d2_log):
    inference_on_dataset(len, [[0]], DatasetEvaluator())
    assert any(line.startswith("Total inference time: ") for line in d2_log)


# --- results


def _expect(*expectations):
    cfg = get_cfg()
    cfg.TEST.EXPECTED_RESULTS = [list(expectation) for expectation in expectations]
    return cfg


def test_expected_results_are_met(d2_log):
    results = {"sem_seg": {"mIoU": 41.0, "pACC": 60.0}}
    assert verify_results(_expect(), results) is True
    cfg = _expect(["sem_seg", "mIoU", 40.5, 0.5], ["sem_seg", "pACC", 60.0, 0.0])
    assert verify_results(cfg, results) is True
    assert d2_log == ["Results verification passed."]


@pytest.mark.parametrize(
    "expectation",
    [
        ["sem_seg", "mIoU", 40.0, 0.5],
        ["sem_seg", "mIoU", 42.0, 0.5],
        ["sem_seg", "mACC", 40.0, 0.5],
        ["sem_seg", "fwIoU", 40.0, 0.5],
    ],
)
def test_expected_results_are_missed(expectation, d2_log):
    results = {"sem_seg": {"mIoU": 41.0, "fwIoU": float("nan"), "pACC": 60.0}}
    with pytest.raises(SystemExit) as stop:
        verify_results(_expect(["sem_seg", "pACC", 60.0, 1.0], expectation), results)
    assert stop.value.code == 1
    assert "Result verification failed!" in d2_log
