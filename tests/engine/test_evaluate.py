"""Evaluation on any registered dataset: the numbers, the file, and what is refused."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.evaluation import DatasetEvaluator
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.data.readers import read_labels
from ovseg_d2.engine.evaluate import build_evaluator, evaluate


class Fixed(nn.Module):
    """Answers class 0 everywhere, or what the labels hold."""

    def __init__(self, num_classes: dict[str, int], perfect: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.perfect = perfect

    def forward(self, batched_inputs):
        outputs = []
        for each in batched_inputs:
            labels = torch.from_numpy(read_labels(each["sem_seg_file_name"]))
            labels = torch.where(labels == 255, 0, labels) if self.perfect else labels * 0
            count = self.num_classes[each["dataset_name"]]
            outputs.append({"sem_seg": nn.functional.one_hot(labels, count).permute(2, 0, 1)})
        return outputs


def config(tmp_path, *names, own_words=False):
    cfg = load_config(None, ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "output")])
    cfg.DATASETS.TEST = names
    cfg.TEST.OWN_WORDS = own_words
    return cfg


def test_evaluate_new_dataset_without_other_changes(tmp_path, toy_dataset, tiny_opts):
    name = toy_dataset("ovseg_toy_new", ["red star", "grass, lawn", "sand"])
    cfg = load_config(None, [*tiny_opts, "OUTPUT_DIR", str(tmp_path / "output")])
    cfg.DATASETS.TEST = (name,)
    found = evaluate(cfg, build_model(cfg))["sem_seg"]
    assert found["images"] == 2 and 0 <= found["mIoU"] <= 100
    written = json.loads((tmp_path / "output" / "results.json").read_text())
    assert set(written) == {name}
    assert written[name]["mIoU"] == pytest.approx(found["mIoU"], abs=1e-4)
    assert {"mIoU", "fwIoU", "pACC", "mACC", "images", "seconds"} <= set(written[name])
    assert not [key for key in written[name] if "-" in key]


def test_numbers_worked_by_hand(tmp_path, toy_dataset):
    labels = np.array([[0, 0, 1], [0, 255, 2]])
    sets = {"base": [0], "novel": [1], "withheld": [2]}
    name = toy_dataset("ovseg_toy_hand", ["a", "b", "c"], labels=[labels], class_sets=sets)
    found = evaluate(config(tmp_path, name, own_words=True), Fixed({name: 3}))["sem_seg"]
    # All five counted pixels are called a: 3 of the union of 5 are right.
    assert found["mIoU_base"] == pytest.approx(60)
    assert found["mIoU_novel"] == found["mIoU_withheld"] == found["hIoU"] == 0
    assert found["mIoU"] == pytest.approx(20)
    assert found["pACC"] == pytest.approx(60)
    written = json.loads((tmp_path / "output" / "results.json").read_text())[name]
    assert written["mIoU_base"] == 60 and written["images"] == 1
    assert written["mIoU_own_words"] == pytest.approx(20)


def test_evaluate_datasets_with_different_classes(tmp_path, toy_dataset):
    one = toy_dataset("ovseg_toy_one", ["a", "b"])
    two = toy_dataset("ovseg_toy_two", ["a", "b", "c"])
    counts = {one: 2, two: 3}
    found = evaluate(config(tmp_path, one, two), Fixed(counts, perfect=True))
    assert list(found) == [one, two]
    assert found[one]["sem_seg"]["mIoU"] == found[two]["sem_seg"]["mIoU"] == 100
    # Of one alone its tasks are given, and what the file held of the other stays.
    assert evaluate(config(tmp_path, one), Fixed(counts))["sem_seg"]["mIoU"] < 100
    written = json.loads((tmp_path / "output" / "results.json").read_text())
    assert written[one]["mIoU"] < 100 and written[two]["mIoU"] == 100


class Counting(DatasetEvaluator):
    def reset(self):
        self.count = 0

    def process(self, inputs, outputs):
        self.count += len(inputs)

    def evaluate(self):
        return OrderedDict(counting={"images": self.count, "per-class": 1.0})


def test_evaluate_takes_evaluators_and_loaders(tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_given", ["a", "b"])
    model, cfg = Fixed({name: 2}), config(tmp_path, name)
    assert evaluate(cfg, model, Counting())["counting"]["images"] == 2
    assert evaluate(cfg, model, [Counting()])["counting"]["images"] == 2
    batch = [dict(entry, dataset_name=name) for entry in DatasetCatalog.get(name)]
    found = evaluate(
        cfg,
        model,
        build_loader=lambda cfg, name: [batch, batch],
        build_evaluator=lambda cfg, name: Counting(),
    )
    assert found["counting"]["images"] == 4
    assert json.loads((tmp_path / "output" / "results.json").read_text()) == {name: {"images": 4}}
    with pytest.raises(ValueError, match="2 evaluators for 1 datasets; give one each"):
        evaluate(cfg, model, [Counting(), Counting()])


def test_failure_keeps_former_results(tmp_path, toy_dataset):
    good = toy_dataset("ovseg_toy_good", ["a", "b"])
    bad = toy_dataset("ovseg_toy_bad", ["a", "b"], labels=[np.array([[0, 7], [1, 1]])])
    with pytest.raises(ValueError, match=r"holds the id 7, but dataset ovseg_toy_bad has 2"):
        evaluate(config(tmp_path, good, bad), Fixed({good: 2, bad: 2}))
    assert set(json.loads((tmp_path / "output" / "results.json").read_text())) == {good}


def test_evaluate_refuses_bad_configs(tmp_path, toy_dataset):
    with pytest.raises(ValueError, match=r"DATASETS\.TEST is empty; name at least one"):
        evaluate(config(tmp_path), Fixed({}))
    with pytest.raises(ValueError, match="'ovseg_toy_nowhere' is not registered"):
        evaluate(config(tmp_path, "ovseg_toy_nowhere"), Fixed({}))
    name = toy_dataset("ovseg_toy_bare", ["a"])
    cfg = config(tmp_path, name)
    MetadataCatalog.remove(name)
    for attribute, value in (("stuff_classes", ["a"]), ("ignore_label", 255)):
        with pytest.raises(ValueError, match=f"'{name}' has no {attribute}; set it with"):
            build_evaluator(cfg, name)
        MetadataCatalog.get(name).set(**{attribute: value})
    build_evaluator(cfg, name)


def test_build_evaluator_refuses_datasets_without_labels(tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_unlabelled", ["a"])
    dicts = [{"file_name": entry["file_name"]} for entry in DatasetCatalog.get(name)]
    DatasetCatalog.remove(name)
    DatasetCatalog.register(name, lambda: dicts)
    with pytest.raises(ValueError, match=f"'{name}' has no labels.*0.png is without 'sem_seg_file"):
        evaluate(config(tmp_path, name), Fixed({name: 1}))


def test_image_and_labels_must_agree_in_size(tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_sizes", ["a", "b"])
    image = DatasetCatalog.get(name)[0]["file_name"]
    Image.new("RGB", (5, 5)).save(image)
    cfg = config(tmp_path, name)
    model = Fixed({name: 2})
    model.forward = lambda batch: [{"sem_seg": torch.rand(2, 5, 5)} for _ in batch]
    with pytest.raises(ValueError, match="24 x 32 pixels, its image .*0.png is 5 x 5"):
        evaluate(cfg, model)
