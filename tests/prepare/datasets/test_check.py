"""The check of prepared files: it finds what spoils an evaluation, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.data.datasets import CAPTION_SETS
from ovseg_d2.data.datasets.benchmarks import BENCHMARKS, Benchmark
from ovseg_d2.prepare.datasets import check, check_datasets, check_ids
from ovseg_d2.prepare.datasets.command import run_check, run_preparation
from ovseg_d2.prepare.datasets.owners import OWNER_FILES, benchmark
from ovseg_d2.vocab import load_vocabulary

NUM = 24
VOC = load_vocabulary("voc20").names
# Two VOC classes for each of the images.
SHOWN = {f"2008_{i:06}": (VOC[i % 20], VOC[(7 * i + 3) % 20]) for i in range(NUM)}


def sized(monkeypatch: pytest.MonkeyPatch, name: str) -> Benchmark:
    """Let the benchmark have as many images as the tests write."""
    small = replace(benchmark(name), num_images=NUM)
    monkeypatch.setattr(
        check, "benchmark", lambda asked: small if asked == name else benchmark(asked)
    )
    return small


def write(mini, dataset: Benchmark, labels) -> None:
    """Write images, and what `labels` makes of the two classes of each."""
    for stem, classes in SHOWN.items():
        image = f"{dataset.image_folder}/{stem}{dataset.image_suffix}"
        mini.unpack({image: mini.jpg()})
        path = mini.root / f"{dataset.label_folder}/{stem}{dataset.label_suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.full((4, 6), dataset.ignore_label, dataset.label_dtype)
        values[:2], values[2] = (np.asarray(labels(cls)).astype(values.dtype) for cls in classes)
        Image.fromarray(values).save(path)


def write_lists(mini, year: str) -> None:
    for cls in VOC:
        lines = (f"{name} {1 if cls in shown else -1:2}\n" for name, shown in SHOWN.items())
        file = f"VOCdevkit/{year}/ImageSets/Main/{cls}_trainval.txt"
        mini.unpack({file: "".join(lines).encode()})


def findings(mini, name: str) -> str:
    (result,) = check_datasets([name], mini.root, workers=1)
    return " | ".join(result.findings)


@pytest.fixture
def voc20(mini, monkeypatch) -> Benchmark:
    """A right VOC-20."""
    dataset = sized(monkeypatch, "ovseg_voc20_val")
    write(mini, dataset, VOC.index)
    write_lists(mini, "VOC2012")
    return dataset


def test_check_finds_nothing_in_right_files(mini, voc20) -> None:
    (result,) = check_datasets(["ovseg_voc20_val"], mini.root)
    assert (result.findings, result.notes, result.num_images) == ((), (), NUM)


@pytest.mark.parametrize("name", [entry.name for entry in BENCHMARKS])
def test_check_says_which_archives_a_missing_benchmark_needs(mini, name: str) -> None:
    text = findings(mini, name)
    files = [entry for entry in OWNER_FILES if name in entry.datasets]
    assert {"images", "labels"} <= {entry.holds for entry in files}
    assert all(entry.file in text and entry.page in text for entry in files)
    assert f"run python datasets/prepare_{files[0].command}.py" in text


def test_check_tells_labels_without_an_image_and_short_counts(mini, voc20) -> None:
    (mini.root / voc20.image_folder / "2008_000004.jpg").unlink()
    text = findings(mini, voc20.name)
    assert f"{NUM - 1} images have labels, and the benchmark has {NUM}" in text
    assert "1 label files have no image" in text and "2008_000004; get VOCtrainval_11" in text


def test_check_tells_images_without_labels(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_ade150_val")
    write(mini, dataset, VOC.index)
    (mini.root / dataset.label_folder / "2008_000001.png").unlink()
    assert "1 images have no label file" in findings(mini, dataset.name)


@pytest.mark.parametrize("new", ["2008_000004.JPG", "2008_000004.jpeg"])
def test_check_names_a_renamed_file(mini, voc20, new: str) -> None:
    path = mini.root / voc20.image_folder / "2008_000004.jpg"
    path.rename(path.with_name(new))
    assert f"(there is {new} instead of 2008_000004.jpg)" in findings(mini, voc20.name)


def test_check_finds_truncated_files_of_half_extracted_archives(mini, voc20) -> None:
    image = mini.root / voc20.image_folder / "2008_000004.jpg"
    label = mini.root / voc20.label_folder / "2008_000005.png"
    for path, size in ((image, 300), (label, 60)):
        path.write_bytes(path.read_bytes()[:size])
    text = findings(mini, voc20.name)
    assert "1 images that cannot be read: cannot read" in text and "2008_000004.jpg" in text
    assert "1 label files that cannot be read: label file" in text and "2008_000005.png" in text


def test_check_accepts_images_with_bytes_after_their_end(mini, voc20) -> None:
    path = mini.root / voc20.image_folder / "2008_000004.jpg"
    path.write_bytes(path.read_bytes() + bytes(5))
    assert findings(mini, voc20.name) == ""


def test_check_finds_labels_of_another_size(mini, voc20) -> None:
    mini.unpack({f"{voc20.image_folder}/2008_000004.jpg": mini.jpg(5, 6)})
    text = findings(mini, voc20.name)
    assert "1 label files of another size than their image" in text
    assert "with 4 x 6 pixels for an image of 5 x 6" in text


def test_check_compares_sizes_with_the_upright_image(mini, voc20) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = mini.root / voc20.image_folder / "2008_000004.jpg"
    Image.fromarray(np.zeros((6, 4, 3), np.uint8)).save(path, exif=exif)
    assert findings(mini, voc20.name) == ""


def test_check_finds_labels_of_another_type(mini, voc20) -> None:
    path = mini.root / voc20.label_folder / "2008_000004.png"
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(path)
    assert "1 label files of another type than uint8" in findings(mini, voc20.name)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)
    assert "label maps have one channel" in findings(mini, voc20.name)


def test_check_finds_ids_without_a_class(mini, voc20) -> None:
    path = mini.root / voc20.label_folder / "2008_000004.png"
    Image.fromarray(np.full((4, 6), 70, np.uint8)).save(path)
    text = findings(mini, voc20.name)
    assert "1 ids have no class among 0 to 19 and 255: 70 in 2008_000004" in text


def test_check_tells_the_raw_voc_palette(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_voc20_val")
    write(mini, dataset, lambda cls: [0, 0, 0, 0, 0, VOC.index(cls) + 1])
    text = findings(mini, dataset.name)
    assert "hold the id 20" in text and "off by one" in text


def test_check_tells_the_raw_voc_palette_by_known_images(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_voc20_val")
    write(mini, dataset, lambda cls: [0, 0, 0, 0, 0, min(VOC.index(cls) + 1, 19)])
    assert findings(mini, dataset.name) == ""
    write_lists(mini, "VOC2012")
    assert "off by one, the owner's own, where 0 is no class" in findings(mini, dataset.name)


def test_check_tells_voc21_without_its_background(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_voc21_val")
    write_lists(mini, "VOC2012")
    write(mini, dataset, lambda cls: 1 + VOC.index(cls))
    assert findings(mini, dataset.name) == ""
    write(mini, dataset, lambda cls: [20] * 5 + [VOC.index(cls)])
    assert "without the background as class 0" in findings(mini, dataset.name)


def test_check_tells_raw_ade_labels_without_the_highest_id(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_ade150_val")
    write(mini, dataset, VOC.index)
    assert findings(mini, dataset.name) == ""
    for path in (mini.root / dataset.label_folder).iterdir():
        labels = np.zeros((4, 6), np.uint8)
        labels[:, 3:] = 149
        Image.fromarray(labels).save(path)
    assert "no pixel of 24 label files is ignored (255)" in findings(mini, dataset.name)


def names_in(cls: str, word_list: str) -> int:
    names = load_vocabulary(word_list).names
    return names.index("table" if cls == "diningtable" else cls)


@pytest.mark.parametrize("word_list", ["context59", "context60", "context459"])
def test_check_accepts_context_in_the_order_of_its_list(mini, monkeypatch, word_list) -> None:
    dataset = sized(monkeypatch, f"ovseg_{word_list}_val")
    write_lists(mini, "VOC2010")
    write(mini, dataset, lambda cls: names_in(cls, word_list))
    assert findings(mini, dataset.name) == ""


def test_check_tells_context59_in_the_order_of_ovseg(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_context59_val")
    write(mini, dataset, VOC.index)
    (result,) = check_datasets([dataset.name], mini.root, workers=1)
    assert result.findings == ()
    assert "the order of classes is not checked" in result.notes[0]
    write_lists(mini, "VOC2010")
    text = findings(mini, dataset.name)
    assert "in the order of 59_labels.txt, as OVSeg has them" in text and "100%" in text


def test_check_tells_raw_context459(mini, monkeypatch) -> None:
    dataset = sized(monkeypatch, "ovseg_context459_val")
    write_lists(mini, "VOC2010")
    write(mini, dataset, lambda cls: names_in(cls, "context459") + 1)
    assert "off by one" in findings(mini, dataset.name)


def test_read_presence_ignores_difficult_objects_and_broken_lists(mini) -> None:
    write_lists(mini, "VOC2012")
    folder = check_ids.presence_lists(mini.root, "voc20")
    (folder / "person_trainval.txt").write_text("2008_000000  0\n2008_000001  1\nodd\n")
    present = check_ids.read_presence(folder)
    assert "person" in present["2008_000001"] and "person" not in present["2008_000000"]
    (folder / "cat_trainval.txt").write_bytes(b"\xff")
    assert check_ids.read_presence(folder) == {}


def test_check_refuses_unknown_names(mini) -> None:
    with pytest.raises(ValueError, match="'voc' is no benchmark; give some of ovseg_voc20_val"):
        check_datasets(["voc"], mini.root)


def test_check_commands_count_missing_datasets_only_if_named(mini, voc20, capsys) -> None:
    root = ["--root", str(mini.root), "--workers", "1"]
    assert run_check("", [voc20.name, *root]) == 0
    assert f"{NUM} images: nothing found" in capsys.readouterr().out

    def prepare_voc(*args: object) -> None:
        raise AssertionError("nothing is written")

    assert run_preparation(prepare_voc, "", ["--check", *root], splits=("train", "val")) == 1
    assert "ovseg_voc20_train  there is no" in capsys.readouterr().out


def test_check_without_names_lists_all(tmp_path: Path, capsys) -> None:
    assert run_check("", ["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("there is no") == len(BENCHMARKS) + len(CAPTION_SETS)
