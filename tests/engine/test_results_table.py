"""The table of an evaluation, and what of it reaches the console."""

import json
import logging

import numpy as np
import torch
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.engine import evaluate
from ovseg_d2.engine.logs import BriefFormatter
from ovseg_d2.engine.results_table import class_numbers, main_numbers, results_table


class AllFirst(nn.Module):
    def forward(self, batched_inputs):
        first = torch.eye(2)[0][:, None, None].expand(2, 1, 2)
        return [{"sem_seg": first} for _ in batched_inputs]


NUMBERS = {
    "mIoU": 41.256,
    "fwIoU": float("nan"),
    **{f"IoU-c{number}": float(number) for number in range(12)},
    "IoU-absent": float("nan"),
    "mIoU_a-b": 3.0,
    "pAcc_ovseg_a-b": 4.0,
    "mIoU_lambda_0": 20.0,
    "mIoU_a-b_lambda_0": 1.0,
    "images": 7,
    "seconds": 3.21,
}
SETS = {"a-b": [0]}


def test_results_table():
    text = results_table("d", "OVSeg", NUMBERS, lam=0.7, lams=[0.0], class_sets=SETS)
    lines = text.splitlines()
    assert lines[0] == "dataset d, method OVSeg, 7 images, 3 s"
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:-2]] == [
        ["", "lambda 0.7", "lambda 0"],
        [lines[2].split("|")[1].strip(), *(cell.strip() for cell in lines[2].split("|")[2:-1])],
        ["mIoU", "41.26", "20.00"],
        ["fwIoU", "-", "-"],
        ["mIoU_a-b (of one class)", "3.00", "1.00"],
    ]
    assert lines[-2] == "IoU of the best classes: c11 11.0, c10 10.0, c9 9.0, c8 8.0, c7 7.0"
    assert lines[-1] == "IoU of the worst classes: c0 0.0, c1 1.0, c2 2.0, c3 3.0, c4 4.0"


def test_results_table_has_papers_numbers_where_they_differ():
    numbers = {"mIoU": 40.0, "mIoU_seen": 30.0, "mIoU_ovseg": 39.0, "mIoU_mmseg": 40.001}
    numbers |= {"mIoU_ovseg_seen": 30.0, "mIoU_ovseg_unseen": 7.0, "pAcc_ovseg_seen": 60.0}
    rows = [
        line.split("|")[1].strip() for line in results_table("d", "m", numbers).splitlines()[3:]
    ]
    assert rows == ["mIoU", "mIoU_seen", "mIoU_ovseg"]
    swept = numbers | {"mIoU_lambda_0.5": 9.0, "mIoU_mmseg_lambda_0.5": 8.0}
    lines = results_table("d", "m", swept, lam=0.7, lams=[0.5]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[3:]][-1] == "mIoU_mmseg"


def test_results_table_of_another_task():
    numbers = {"accuracy": 50.0, "class_accuracy": 40.0, "accuracy-a": 40.0, "masks": 3}
    text = results_table("d", "Crops", numbers)
    assert text.splitlines()[0] == "dataset d, method Crops"
    assert "class_accuracy (of one class)" in text and "| masks " in text
    assert text.splitlines()[-1] == "accuracy of classes: a 40.0"
    assert "lambda" not in text


def test_main_and_class_numbers():
    assert {"mIoU_a-b", "pAcc_ovseg_a-b"} <= set(main_numbers(NUMBERS))
    assert "IoU-c1" not in main_numbers(NUMBERS)
    assert main_numbers(NUMBERS) | class_numbers(NUMBERS) == NUMBERS
    assert not set(main_numbers(NUMBERS)) & set(class_numbers(NUMBERS))


def test_console_shows_the_whole_table(toy_dataset, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    name = toy_dataset("toy_table", ["a", "b"], labels=[np.array([[0, 1]])])
    opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
    cfg = load_config(None, [*opts, "DATASETS.TEST", f"('{name}',)"])

    evaluate(cfg, AllFirst())
    assert "OrderedDict" not in caplog.text and "copypaste" not in caplog.text
    formatter = BriefFormatter(logging.Formatter("%(message)s"))
    (table,) = [each for each in caplog.records if "results on dataset" in each.getMessage()]
    shown = formatter.format(table)
    assert shown == table.getMessage() and "IoU of classes: a 50.0, b 0.0" in shown
    assert "method AllFirst, 1 images" in shown
    files = [tmp_path / "out" / f"results{part}.json" for part in ("", "_classes")]
    for file in files:
        assert f"written to {file}" in caplog.text
    whole, classes = (json.loads(file.read_text())[name] for file in files)
    assert whole["mIoU"] == 25 and "IoU-a" not in whole
    assert classes == {"IoU-a": 50, "IoU-b": 0, "ACC-a": 100, "ACC-b": 0}
