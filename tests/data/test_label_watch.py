"""Warnings of labels without a training signal."""

import numpy as np
import pytest

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_train_loader

EMPTY = np.full((8, 8), 255)
CLASSES = np.indices((8, 8))[0] // 3
BINARY = np.where(CLASSES == 0, 0, 255)


@pytest.fixture
def warnings_of(toy_dataset, caplog):
    def train(labels, *opts, num_batches=6):
        name = toy_dataset("toy_watch", ["a", "b", "c"], labels=labels)
        cfg = load_config(
            None,
            ["MODEL.DEVICE", "cpu", "DATASETS.TRAIN", f"('{name}',)", "DATALOADER.NUM_WORKERS", "0"]
            + ["INPUT.TRAIN_MAPPER", "semantic", "SOLVER.IMS_PER_BATCH", "2"]
            + ["INPUT.MIN_SIZE_TRAIN", "(8,)", *opts],
        )
        batches = iter(build_train_loader(cfg))
        for _ in range(num_batches):
            assert len(next(batches)) == 2
        assert len(DatasetCatalog.get(name)) == len(labels)
        return [record.getMessage() for record in caplog.records]

    return train


def test_no_warning_of_labels_with_classes(warnings_of):
    assert warnings_of([CLASSES, CLASSES, BINARY]) == []


def test_warning_of_files_that_are_ignored(warnings_of):
    first, last = warnings_of([EMPTY, CLASSES, EMPTY, CLASSES])
    assert "_labels" not in first and ".png: all pixels of its labels are ignored" in first
    assert last.startswith(
        "2 of the first 4 training images have labels that are ignored completely: "
    )
    assert "toy_watch/0.png" in last and "toy_watch/2.png" in last


def test_warning_of_masks_in_black_and_white(warnings_of):
    (text,) = warnings_of([BINARY, BINARY, BINARY, BINARY])
    assert text.startswith(
        "the labels of the first 4 training images hold only class 0 and ignored"
    )


def test_no_warning_with_only_ignored_labels(warnings_of):
    opts = ("INPUT.SEMANTIC.ONLY_IGNORED", "True")
    assert warnings_of([EMPTY, EMPTY], *opts) == []
