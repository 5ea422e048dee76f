"""Images with several label files: one for each class, or several annotators."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_test_loader
from ovseg_d2.engine import evaluate
from ovseg_d2.engine.ceilings import PatchCeiling
from ovseg_d2.engine.evaluate import build_evaluator
from ovseg_d2.prepare.pair_miner import MiningOptions, PairMiner, find_labels

IMAGE = [0, 1, 1, 0]  # classes that the model predicts
LABELS = ([0, 0, 255, 255], [255, 255, 1, 1])


@pytest.fixture
def one_image(toy_dataset):
    """Name of a dataset with one image and a label file for each of its two classes."""
    name = toy_dataset("ovseg_toy_one", ["a", "b"], labels=[np.array([row]) for row in LABELS])
    first, second = DatasetCatalog.get(name)
    entries = [first, {**second, "file_name": first["file_name"]}]
    pixels = np.zeros((1, 4, 3), dtype=np.uint8)
    pixels[0, :, 0] = IMAGE
    Image.fromarray(pixels).save(first["file_name"])
    DatasetCatalog.remove(name)
    DatasetCatalog.register(name, lambda: [dict(entry) for entry in entries])
    return name


class RedIsClass(nn.Module):
    def forward(self, batched_inputs):
        reds = [entry["image"][0].long() for entry in batched_inputs]
        return [{"sem_seg": nn.functional.one_hot(red, 2).permute(2, 0, 1)} for red in reds]


def config(name, tmp_path, *opts):
    base = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out"), "INPUT.MIN_SIZE_TEST", "0"]
    return load_config(None, [*base, "DATASETS.TEST", f"('{name}',)", *opts])


def test_evaluate_uses_the_labels_of_the_entry(one_image, tmp_path):
    cfg = config(one_image, tmp_path, "TEST.OWN_WORDS", "True")
    numbers = evaluate(cfg, RedIsClass())["sem_seg"]
    # Of each class 2 pixels are labelled, 2 are predicted and 1 is both: 1 of a union of 3.
    # (By the last file for both entries it is 50: 2 of 4 pixels of b, and no a.)
    assert numbers["mIoU"] == numbers["IoU-a"] == numbers["IoU-b"] == pytest.approx(100 / 3)
    assert (numbers["pACC"], numbers["images"]) == (50, 2)
    # Each file has one class, so every prediction among its own words is right.
    assert numbers["mIoU_own_words"] == 100


def test_process_refuses_an_ambiguous_input(one_image, tmp_path):
    cfg = config(one_image, tmp_path)
    evaluator = build_evaluator(cfg, one_image)
    evaluator.reset()
    (batch,) = list(build_test_loader(cfg, one_image))[:1]
    del batch[0]["sem_seg_file_name"]  # as detectron2's mapper does
    with pytest.raises(ValueError, match="0.png has 2 label files in dataset ovseg_toy_one, and"):
        evaluator.process(batch, RedIsClass()(batch))


def test_patch_oracle_reads_the_labels_of_the_entry(one_image, tmp_path):
    class Patches(nn.Module):
        maskclip = SimpleNamespace(tower=SimpleNamespace(patch_size=(1, 1)))

        def vocabulary_of(self, entry):
            return ["a", "b"]

    oracle = PatchCeiling(Patches())
    for batch, labels in zip(
        build_test_loader(config(one_image, tmp_path), one_image), LABELS, strict=True
    ):
        (output,) = oracle(batch)
        expected = torch.tensor([[[float(label == k) for label in labels]] for k in (0, 1)])
        assert torch.equal(output["sem_seg"], expected)


def test_test_loader_masks_are_those_of_the_entry(one_image, tmp_path):
    cfg = config(one_image, tmp_path, "TEST.TASK", "mask_crops")
    ids = [sample["mask_class_ids"].tolist() for (sample,) in build_test_loader(cfg, one_image)]
    assert ids == [[0], [1]]


def test_pair_miner_uses_all_label_files(one_image, tmp_path):
    labels = find_labels([one_image, one_image])
    options = MiningOptions(masks="labels", nouns="classes")
    (image,) = labels
    pairs, problem = PairMiner(options, labels, config(one_image, tmp_path)).mine(image, {})
    assert (problem, [pair.noun for pair in pairs]) == ("", ["a", "b"])
    assert pairs[0].decode((1, 4)).tolist() == [[True, True, False, False]]
    assert pairs[1].decode((1, 4)).tolist() == [[False, False, True, True]]
