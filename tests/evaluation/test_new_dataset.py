"""A user's dataset can be evaluated once it is registered in the catalogs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine import evaluate
from ovseg_d2.evaluation import read_results

NAME = "my_own_dataset"
CLASSES = ["sky", "tree", "road"]


@pytest.fixture
def my_own_dataset(tmp_path: Path) -> Iterator[str]:
    """Images and label maps in a folder, registered with two lines.

    The red of a pixel is 100 times its class, or 0 where the label is 255, which is ignored.
    """
    folder = tmp_path / "my data"
    folder.mkdir()
    labels = [np.repeat([[0, 0, 1, 255]], 8, axis=0), np.repeat([[1], [1], [2], [2]], 6, axis=1)]
    entries = []
    for number, label_map in enumerate(labels):
        image = np.zeros((*label_map.shape, 3), dtype=np.uint8)
        image[..., 0] = np.where(label_map == 255, 0, label_map * 100)
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(label_map.astype(np.uint8)).save(folder / f"{number}_labels.png")
        entries.append(
            {
                "file_name": str(folder / f"{number}.png"),
                "sem_seg_file_name": str(folder / f"{number}_labels.png"),
            }
        )
    DatasetCatalog.register(NAME, lambda: entries)
    MetadataCatalog.get(NAME).set(stuff_classes=CLASSES, ignore_label=255)
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


class Reader(nn.Module):
    """Predicts the class of the red channel, and tree for every road."""

    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        outputs = []
        for batched_input in batched_inputs:
            classes = (batched_input["image"][0] // 100).long()
            classes[classes == 2] = 1
            scores = nn.functional.one_hot(classes, len(CLASSES)).permute(2, 0, 1).float()
            outputs.append({"sem_seg": scores})
        return outputs


def test_evaluate_new_dataset_by_hand(my_own_dataset, tmp_path):
    opts = ["DATASETS.TEST", f"('{NAME}',)", "OUTPUT_DIR", str(tmp_path / "output")]
    cfg = load_config(None, [*opts, "TEST.OWN_WORDS", "True"])
    returned = evaluate(cfg, Reader())
    written = read_results(tmp_path / "output")[NAME]
    # Pixels: 16 of sky, all right; 8 + 12 of tree, all right; 12 of road, predicted as tree.
    expected = {
        "mIoU": 100 * (1 + 20 / 32 + 0) / 3,
        "fwIoU": 100 * (16 / 48 * 1 + 20 / 48 * 20 / 32),
        "mACC": 100 * (1 + 1 + 0) / 3,
        "pACC": 100 * 36 / 48,
        "images": 2,
        "mIoU_ovseg": 100 * (1 + 20 / 32 + 0) / 3,  # every predicted class is labelled
        "mIoU_mmseg": 100 * (1 + 20 / 32 + 0) / 3,
        "mIoU_own_words": 100 * (1 + 20 / 32 + 0) / 3,
    }
    assert {key: written[key] for key in expected} == pytest.approx(expected, abs=1e-4)
    assert written["seconds"] >= 0
    assert set(written) == {*expected, "seconds"}
    assert returned["sem_seg"]["IoU-tree"] == pytest.approx(62.5)


def test_evaluate_uses_the_words_of_the_dataset(my_own_dataset, tiny_opts, tmp_path):
    opts = ["DATASETS.TEST", f"('{NAME}', 'ovseg_shapes_val')", "OUTPUT_DIR", str(tmp_path / "out")]
    cfg = load_config(None, [*tiny_opts, *opts, "TEST.MAX_IMAGES", "2"])
    torch.manual_seed(0)
    model = build_model(cfg)
    words = []
    embed = model.text_bank.class_texts
    model.text_bank.class_texts = lambda vocabulary, *negative: (
        words.append(vocabulary.names) or embed(vocabulary, *negative)
    )
    returned = evaluate(cfg, model.eval())
    assert [len(names) for names in words] == [3, 3, 80, 80]
    assert list(words[0]) == CLASSES
    assert list(returned) == [NAME, "ovseg_shapes_val"]
    written = read_results(tmp_path / "out")
    assert written[NAME]["images"] == written["ovseg_shapes_val"]["images"] == 2
    assert 0 <= written[NAME]["mIoU"] <= 100
    further = [key for key in written[NAME] if key.startswith(("mIoU_", "hIoU"))]
    assert further == ["mIoU_ovseg", "mIoU_mmseg"]
    sets = {"mIoU_base", "mIoU_novel", "mIoU_withheld", "hIoU"}
    assert sets <= set(written["ovseg_shapes_val"])
