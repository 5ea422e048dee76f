"""Label files in the coding of their dataset's metadata, for all readers of labels."""

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.labels import LabelReader
from ovseg_d2.data.mappers import SemanticMapper
from ovseg_d2.data.mappers.truth_masks import TruthMaskMapper
from ovseg_d2.data.sampler import Draw
from ovseg_d2.engine.evaluate import build_evaluator
from ovseg_d2.prepare.pair_miner import MiningOptions, PairMiner, find_labels
from ovseg_d2.vocab import IGNORED

CLASSES = ["sky", "sea", "sand"]
IDS = {7: 0, 11: 1, 26: 2}
TRUTH = np.array([[0, 0, 1], [2, IGNORED, 1]])
PALETTE = {(0, 0, 255): 0, (0, 255, 0): 1, (9, 9, 9): 2, (0, 0, 0): 255}


def colored(truth, palette=PALETTE):
    colors = {value: color for color, value in palette.items()}
    return np.array([[colors[value] for value in row] for row in truth.tolist()], dtype=np.uint8)


FORMS = {
    "class ids": (np.where(TRUTH < 0, 255, TRUTH), {}),
    "two ignored": (np.array([[0, 0, 1], [2, 9, 1]]), {"ignore_label": [255, 9]}),
    "dataset ids": (
        np.array([[7, 7, 11], [26, 255, 11]]),
        {"stuff_dataset_id_to_contiguous_id": IDS},
    ),
    "dataset ids, of which 0 is none": (
        np.array([[7, 7, 11], [26, 0, 11]]),
        {"stuff_dataset_id_to_contiguous_id": IDS, "ignore_label": [0, 255]},
    ),
    "class ids beside dataset ids": (
        np.where(TRUTH < 0, 255, TRUTH),
        {"stuff_dataset_id_to_contiguous_id": IDS},
    ),
    "colours": (colored(np.where(TRUTH < 0, 255, TRUTH)), {"label_palette": PALETTE}),
}


@pytest.fixture(params=FORMS)
def entry(request, toy_dataset):
    values, metadata = FORMS[request.param]
    name = toy_dataset("toy_labels", CLASSES, labels=[np.zeros((2, 3))], **metadata)
    (dataset_dict,) = DatasetCatalog.get(name)
    Image.fromarray(values.astype(np.uint8)).save(dataset_dict["sem_seg_file_name"])
    return {**dataset_dict, "dataset_name": name}


def test_label_reader(entry):
    labels = LabelReader()(entry)
    assert labels.dtype == np.int64 and labels.tolist() == TRUTH.tolist()


def test_semantic_mapper(entry):
    mapper = SemanticMapper(distort=False, ignore=99)
    sample = mapper(entry, Draw(index=0, seed=0, position=0))
    assert sample["sem_seg"].tolist() == np.where(TRUTH < 0, 99, TRUTH).tolist()
    assert sample["label_classes"] == (0, 1, 2) and sample["label_ignored"]


def test_truth_mask_mapper(entry):
    sample = TruthMaskMapper(min_size=0, max_size=9)(entry)
    assert sample["mask_class_ids"].tolist() == [0, 1, 2]
    for mask, number in zip(sample["masks"], range(3), strict=True):
        assert (mask.numpy() == (TRUTH == number)).all()


def test_evaluator_with_own_words(entry):
    cfg = load_config(None, ["MODEL.DEVICE", "cpu", "TEST.OWN_WORDS", "True"])
    evaluator = build_evaluator(cfg, entry["dataset_name"])
    evaluator.reset()
    scores = torch.zeros(3, 2, 3)
    scores[0] = 1  # predicts sky everywhere: 2 of 5 are right
    evaluator.process([entry], [{"sem_seg": scores}])
    numbers = evaluator.evaluate()["sem_seg"]
    assert numbers["mIoU"] == numbers["mIoU_own_words"] == pytest.approx(40 / 3)
    assert numbers["pACC"] == pytest.approx(40)


def test_pair_miner(entry):
    name = entry["dataset_name"]
    options = MiningOptions(masks="labels", nouns="classes")
    miner = PairMiner(options, find_labels([name]), load_config(None, ["MODEL.DEVICE", "cpu"]))
    pairs, problem = miner.mine(entry["file_name"], {})
    assert (problem, [pair.noun for pair in pairs]) == ("", CLASSES)
    for number, pair in enumerate(pairs):
        assert (pair.decode((2, 3)) == (TRUTH == number)).all()


def write(tmp_path, toy_dataset, maps, **metadata):
    name = toy_dataset("toy_ids", CLASSES, labels=maps, **metadata)
    return name, [entry["sem_seg_file_name"] for entry in DatasetCatalog.get(name)]


def test_label_reader_finds_the_coding_by_one_file(toy_dataset, tmp_path, caplog):
    ids = {"stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1, 3: 2}}
    unclear = np.array([[1, 2]])
    name, files = write(tmp_path, toy_dataset, [unclear, np.array([[0, 2]])], **ids)
    reader = LabelReader()
    assert reader.read(name, files[0]).tolist() == [[1, 2]]
    Image.fromarray(np.array([[3, 2]], dtype=np.uint8)).save(files[1])
    reader = LabelReader()
    assert reader.read(name, files[0]).tolist() == [[0, 1]]
    assert not caplog.records
    Image.fromarray(np.array([[1, 1]], dtype=np.uint8)).save(files[1])
    assert LabelReader().read(name, files[0]).tolist() == [[0, 1]]
    assert "dataset toy_ids maps ids by stuff_dataset_id_to_contiguous_id, and its" in caplog.text


@pytest.mark.parametrize(("coding", "expected"), [("dataset", [[0, 1]]), ("contiguous", [[1, 2]])])
def test_label_reader_label_ids_of_metadata(toy_dataset, tmp_path, caplog, coding, expected):
    ids = {"stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1, 3: 2}, "label_ids": coding}
    name, files = write(tmp_path, toy_dataset, [np.array([[1, 2]])], **ids)
    assert LabelReader().read(name, files[0]).tolist() == expected
    assert not caplog.records


def test_label_reader_files_of_two_codings(toy_dataset, tmp_path):
    ids = {"stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1, 3: 2}}
    name, files = write(tmp_path, toy_dataset, [np.array([[1, 3]]), np.array([[0, 2]])], **ids)
    with pytest.raises(ValueError, match="1_labels.png holds the id 0 .* label_ids='contiguous'"):
        LabelReader().read(name, files[1])


def test_label_reader_id_is_ignored_and_a_class(toy_dataset, tmp_path):
    ids = {"stuff_dataset_id_to_contiguous_id": {7: 0, 255: 1}}
    name, files = write(tmp_path, toy_dataset, [np.array([[7, 7]])], **ids)
    with pytest.raises(ValueError, match="dataset toy_ids ignores 255 and also maps it to a class"):
        LabelReader().read(name, files[0])


def test_semantic_mapper_names_the_file_of_a_wrong_id(toy_dataset):
    name = toy_dataset("toy_strange", CLASSES, labels=[np.array([[0, 3]])])
    entry = {**DatasetCatalog.get(name)[0], "dataset_name": name}
    draw = Draw(index=0, seed=0, position=0)
    with pytest.raises(ValueError, match="0_labels.png holds the id 3, but dataset toy_strange"):
        SemanticMapper()(entry, draw)
    assert SemanticMapper(only_ignored=True)(entry, draw) is not None


def turned_by_exif(entry):
    """Write an image that its EXIF orientation turns by 90 degrees, and labels without one."""
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(entry["file_name"], exif=exif)
    Image.fromarray(pixels[..., 0]).save(entry["sem_seg_file_name"])


def test_size_errors_explain_an_exif_orientation(toy_dataset, caplog):
    name = toy_dataset("toy_exif", CLASSES, labels=[np.zeros((2, 2))])
    entry = {**DatasetCatalog.get(name)[0], "dataset_name": name}
    turned_by_exif(entry)
    words = "height and width are swapped, as where the image's EXIF orientation turns it"
    with pytest.raises(ValueError, match=words):
        TruthMaskMapper(min_size=0, max_size=9)(entry)
    assert SemanticMapper()(entry, Draw(index=0, seed=0, position=0)) is None
    assert words in caplog.text
    evaluator = build_evaluator(load_config(None, ["MODEL.DEVICE", "cpu"]), name)
    evaluator.reset()
    with pytest.raises(ValueError, match=words):
        evaluator.process([entry], [{"sem_seg": torch.zeros(3, 6, 4)}])
