"""SA-1B from miniatures of its archives."""

import json
import os
import runpy
import signal
from pathlib import Path

import numpy as np
import pytest

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.data.readers import read_image_of
from ovseg_d2.masks import encode_masks, read_masks
from ovseg_d2.prepare.datasets import check_datasets, prepare_sa1b, sa1b
from ovseg_d2.prepare.datasets.sa1b_halving import halve_masks

HEIGHT, WIDTH = 9, 12
ROOT = Path(__file__).resolve().parents[3]


def masks() -> np.ndarray:
    """A large region, one that only even rows hold and that vanishes, and the lower right."""
    result = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    result[0, :6, :8] = True
    result[1, 0, 0] = True
    result[2, 4:, 6:] = True
    return result


def content(number: int) -> dict:
    """An entry of SA-1B in its own fields."""
    annotations = [
        {
            "id": 500 + at,
            "segmentation": runs,
            "bbox": [0.0, 0.0, 8.0, 6.0],
            "area": 48,
            "predicted_iou": 0.9,
            "stability_score": 0.97,
            "point_coords": [[4.0, 3.0]],
            "crop_box": [0.0, 0.0, 12.0, 9.0],
        }
        for at, runs in enumerate(encode_masks(masks()))
    ]
    name = f"sa_{number}"
    image = {"image_id": number, "width": WIDTH, "height": HEIGHT, "file_name": f"{name}.jpg"}
    return {"image": image, "annotations": annotations}


def files(mini, *numbers: int, prefix: str = "./") -> dict[str, bytes]:
    """Files of an archive, which has no folder."""
    result = {}
    for number in numbers:
        result[f"{prefix}sa_{number}.jpg"] = mini.jpg(HEIGHT, WIDTH)
        result[f"{prefix}sa_{number}.json"] = json.dumps(content(number)).encode()
    return result


def pack(mini) -> None:
    mini.pack("sa_000020.tar", files(mini, 223750, 223751))
    mini.pack("sa_000021.tar", files(mini, 234930, prefix=""))


def found(mini, monkeypatch) -> list[dict]:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini.root))
    return DatasetCatalog.get("ovseg_sa1b_train")


def test_prepare_sa1b_unpacks_each_archive_into_its_folder(mini, monkeypatch) -> None:
    pack(mini)
    report = prepare_sa1b(mini.root, mini.downloads, workers=1)
    assert (report.made, report.problems) == (6, ())
    dicts = found(mini, monkeypatch)
    assert [os.path.relpath(entry["file_name"], mini.root) for entry in dicts] == [
        "sa1b/sa_000020/sa_223750.jpg",
        "sa1b/sa_000020/sa_223751.jpg",
        "sa1b/sa_000021/sa_234930.jpg",
    ]
    assert (read_masks(dicts[0]["masks_file_name"], (HEIGHT, WIDTH)) == masks()).all()


def test_prepare_sa1b_goes_on_where_it_stopped(mini) -> None:
    pack(mini)
    prepare_sa1b(mini.root, mini.downloads, workers=1)
    (mini.root / "sa1b/sa_000020/sa_223751.json").unlink()
    report = prepare_sa1b(mini.root, mini.downloads, workers=1)
    assert (report.made, report.kept, report.problems) == (1, 5, ())


@pytest.mark.parametrize("layout", ["archives", "unpacked", "apart"])
def test_prepare_sa1b_halves_images_and_masks(mini, monkeypatch, layout: str) -> None:
    if layout == "archives":
        pack(mini)
    for name, data in {} if layout == "archives" else files(mini, 223750, prefix="").items():
        kind = "annotations" if name.endswith("json") else "images"
        folder = mini.downloads / (kind if layout == "apart" else "") / "sa_000020"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1).problems == ()
    first = found(mini, monkeypatch)[0]
    assert first["file_name"] == str(mini.root / "sa1b/sa_000020/sa_223750.jpg")
    assert read_image_of(first["file_name"]).shape == (4, 6, 3)
    halved = read_masks(first["masks_file_name"], (4, 6))
    # Rows 1, 3, 5, 7 and columns 1, 3, ..., 11 are nearest to the centres of the new pixels.
    assert (halved == masks()[[0, 2], 1:8:2, 1::2]).all()
    again = prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1)
    assert again.made == 0


def test_halve_masks_keeps_sa1bs_fields() -> None:
    halved = halve_masks(content(1))
    assert halved["image"] == {"image_id": 1, "width": 6, "height": 4, "file_name": "sa_1.jpg"}
    first = halved["annotations"][0]
    assert (first["id"], first["predicted_iou"], first["stability_score"]) == (500, 0.9, 0.97)
    assert first["area"] == 12
    assert first["bbox"] == pytest.approx([0, 0, 4, 6 * 4 / 9])
    assert first["point_coords"] == [pytest.approx([2, 3 * 4 / 9])]
    assert first["crop_box"] == pytest.approx([0, 0, 6, 4])
    assert [entry["id"] for entry in halved["annotations"]] == [500, 502]


@pytest.mark.parametrize("halved_first", [True, False])
def test_prepare_sa1b_does_not_mix_sizes(mini, halved_first: bool) -> None:
    pack(mini)
    prepare_sa1b(mini.root, mini.downloads, halve=halved_first, workers=1)
    with pytest.raises(ValueError, match=r"has (full|half the) size.*; give another --root"):
        prepare_sa1b(mini.root, mini.downloads, halve=not halved_first, workers=1)
    sizes = {True: (4, 6, 3), False: (HEIGHT, WIDTH, 3)}
    prepare_sa1b(mini.root, mini.downloads, halve=not halved_first, overwrite=True, workers=1)
    image = read_image_of(mini.root / "sa1b/sa_000020/sa_223750.jpg")
    assert image.shape == sizes[not halved_first]


def test_prepare_sa1b_halving_reports_broken_pairs(mini) -> None:
    archive = files(mini, 1, 2, 3, 4)
    del archive["./sa_2.json"]
    archive["./sa_3.json"] = archive["./sa_3.json"][:-30]
    archive["./sa_4.jpg"] = mini.jpg(HEIGHT + 3, WIDTH)
    mini.pack("sa_000020.tar", archive)
    problems = prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1).problems
    alone, cut, size = problems
    assert "sa_000020.tar has 1 images without masks" in alone
    assert "sa_000020.tar, sa_3.jpg" in cut and "sa_3.json: " in cut
    assert "another size than its masks" in size
    assert sorted(os.listdir(mini.root / "sa1b/sa_000020")) == ["sa_1.jpg", "sa_1.json"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": {"height": 9}}, "is not in SA-1B's format"),
        ({"image": {"height": 10**9, "width": 1}}, "is not in SA-1B's format"),
        ({"annotations": [3]}, "mask 0 is no mask"),
        ({"annotations": [{"segmentation": {"size": [9, 12], "counts": [5]}}]}, "mask 0 does not"),
    ],
)
def test_halve_masks_refuses_other_content(change: dict, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{problem}.*; unpack it again"):
        halve_masks({**content(1), **change})


def test_prepare_sa1b_does_not_halve_in_place(mini) -> None:
    mini.unpack(files(mini, 1, prefix=""), "sa1b")
    with pytest.raises(ValueError, match="move what is there to another folder"):
        prepare_sa1b(mini.root, mini.root / "sa1b", halve=True, overwrite=True)


def test_prepare_sa1b_halving_killed_between_image_and_masks_goes_on(mini, monkeypatch) -> None:
    pack(mini)
    child = os.fork()
    if not child:

        def write(path, *mode):
            if path.name == "sa_223751.json":
                os.kill(os.getpid(), signal.SIGKILL)
            return original(path, *mode)

        original, sa1b.write_atomically = sa1b.write_atomically, write
        prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    made = sorted(path.name for path in (mini.root / "sa1b").rglob("sa_2*.*"))
    assert made == ["sa_223750.jpg", "sa_223750.json", "sa_223751.jpg"]
    report = prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1)
    assert (report.made, report.kept, report.problems) == (2, 1, ())
    assert len(found(mini, monkeypatch)) == 3


def check(mini) -> tuple[str, ...]:
    (result,) = check_datasets(["ovseg_sa1b_train"], mini.root, workers=1)
    return result.findings


@pytest.mark.parametrize("halve", [True, False])
def test_check_sa1b_finds_nothing_in_whole_archives(mini, halve: bool) -> None:
    pack(mini)
    assert check(mini)[0].startswith(f"there is no {mini.root}/sa1b; get sa_*.tar")
    prepare_sa1b(mini.root, mini.downloads, halve=halve, workers=1)
    assert check(mini) == ()


def test_check_sa1b_finds_half_extracted_archives(mini) -> None:
    pack(mini)
    prepare_sa1b(mini.root, mini.downloads, workers=1)
    folder = mini.root / "sa1b/sa_000020"
    (folder / "sa_223750.json").unlink()
    (folder / "sa_1.json").write_text("{}")
    cut = folder / "sa_223751.json"
    cut.write_bytes(cut.read_bytes()[:-20])
    image = mini.root / "sa1b/sa_000021/sa_234930.jpg"
    image.write_bytes(image.read_bytes()[:-20])
    without, alone, broken, unreadable = check(mini)
    assert "1 images have no masks: sa_000020/sa_223750; unpack sa_*.tar" in without
    assert "1 files of masks have no image: sa_000020/sa_1" in alone
    assert "1 files of masks that are truncated" in broken
    assert "1 images that cannot be read" in unreadable


def test_check_sa1b_finds_images_that_were_halved_alone(mini) -> None:
    mini.unpack(files(mini, 1, prefix=""), "sa1b")
    mini.unpack({"sa1b/sa_1.jpg": mini.jpg(HEIGHT // 2, WIDTH // 2)})
    (size,) = check(mini)
    assert "sa_1.json with 9 x 12 pixels for an image of 4 x 6" in size


def test_prepare_sa1b_command_halves_and_checks(mini, capsys) -> None:
    pack(mini)
    main = runpy.run_path(str(ROOT / "datasets/prepare_sa1b.py"))["main"]
    root = ["--root", str(mini.root), "--workers", "1"]
    assert main(["--archives", str(mini.downloads), "--halve", *root]) == 0
    assert read_image_of(mini.root / "sa1b/sa_000020/sa_223750.jpg").shape == (4, 6, 3)
    assert main(["--check", *root]) == 0
    assert "ovseg_sa1b_train  3 images: nothing found" in capsys.readouterr().out


def test_prepared_sa1b_trains_through_a_papers_config(mini, monkeypatch) -> None:
    pack(mini)
    prepare_sa1b(mini.root, mini.downloads, halve=True, workers=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini.root))
    opts = ["SOLVER.IMS_PER_BATCH", "3", "INPUT.MIN_SIZE_TRAIN", "(8,)", "DATALOADER.NUM_WORKERS"]
    opts += ["0", "INPUT.CROP.SIZE", "[8, 8]"]
    cfg = load_config(ROOT / "configs/paper/pixelclip_vitb16_sa1b.yaml", opts)
    batch = next(iter(build_train_loader(cfg)))
    assert [sample["image"].shape for sample in batch] == [(3, 8, 8)] * 3
    assert all(0 < len(sample["masks"]) <= 2 for sample in batch)
