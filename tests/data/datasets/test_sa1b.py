"""SA-1B in the layout of its archives."""

import numpy as np
import pytest
from PIL import Image

import ovseg_d2  # noqa: F401  (importing it registers the datasets)
from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.masks import write_masks

NAME = "ovseg_sa1b_train"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The path of SA-1B below a root of datasets; the folder does not exist yet."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path / "sa1b"


def test_sa1b_lists_all_folders(root, caplog):
    for name in ("sa_000001/sa_20", "sa_000000/sa_3", "sa_7"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.jpg").touch()
        (root / f"{name}.json").touch()
    (root / "sa_8.jpg").touch()
    (root / "sa_000001" / "sa_8.json").touch()
    dicts = DatasetCatalog.get(NAME)
    assert [entry["image_id"] for entry in dicts] == ["sa_3", "sa_20", "sa_7"]
    assert dicts[1]["file_name"] == str(root / "sa_000001" / "sa_20.jpg")
    assert dicts[1]["masks_file_name"] == str(root / "sa_000001" / "sa_20.json")
    assert "1 images without masks are left out" in caplog.text


def test_sa1b_reads_masks_that_lie_apart(root, caplog):
    files = ["images/sa_000020/sa_3.jpg", "annotations/sa_000020/sa_3.json"]
    files += ["images/sa_7.jpg", "annotations/sa_7.json"]
    # The masks of another archive, and side by side as well.
    files += ["images/sa_000020/sa_9.jpg", "annotations/sa_000021/sa_9.json"]
    files += ["sa_000022/sa_1.jpg", "sa_000022/sa_1.json"]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    dicts = DatasetCatalog.get(NAME)
    found = [(entry["file_name"], entry["masks_file_name"]) for entry in dicts]
    assert found == [(str(root / files[at]), str(root / files[at + 1])) for at in (0, 2, 6)]
    assert [entry["image_id"] for entry in dicts] == ["sa_3", "sa_7", "sa_1"]
    assert "1 images without masks are left out" in caplog.text


def test_sa1b_training_batch(root):
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"sa_{number}.jpg")
        write_masks(root / f"sa_{number}.json", np.ones((number, 30, 40), dtype=bool))
    opts = ["INPUT.TRAIN_MAPPER", "masks", "DATASETS.TRAIN", f"('{NAME}',)"]
    opts += ["INPUT.MASKS.SOURCE", "stored", "SOLVER.IMS_PER_BATCH", "3"]
    opts += ["INPUT.MIN_SIZE_TRAIN", "(24,)"]
    batch = next(iter(build_train_loader(load_config(None, opts))))
    assert sorted(len(sample["masks"]) for sample in batch) == [0, 1, 2]
    assert all(sample["masks"].shape[1:] == (24, 32) for sample in batch)


def test_sa1b_missing_folder(root):
    with pytest.raises(FileNotFoundError, match="sa1b does not exist; set DETECTRON2_DATASETS"):
        DatasetCatalog.get(NAME)


def test_sa1b_without_masks(root):
    root.mkdir()
    (root / "sa_1.jpg").touch()
    with pytest.raises(FileNotFoundError, match="none of the 1 images .* unpack archives of SA"):
        DatasetCatalog.get(NAME)
