"""The real benchmarks in detectron2's catalogs, one row of a table each.

Registering touches no disk. Folders are looked for and listed each time a dataset is asked for,
below the environment variable DETECTRON2_DATASETS as it is then. Class names are a word list of
the package, read when somebody first asks the metadata for them, which needs no pictures.
"""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...d2.data import DatasetCatalog, Metadata, MetadataCatalog
from ...vocab import load_vocabulary

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkMetadata", "datasets_root", "register_benchmarks"]

_logger = logging.getLogger(__name__)

# Names of files that a message shows before it gives their number only.
_SHOWN = 3
# What metadata take from the word list.
_FROM_WORD_LIST = ("vocabulary", "stuff_classes", "class_sets")


@dataclass(frozen=True)
class Benchmark:
    """Where the pictures and labels of a benchmark are, and what its labels mean.

    A picture and its labels bear the same name, folders included, apart from the two suffixes.
    Labels hold contiguous class ids, which index the word list, and the ignore label.

    Args:
        name: as registered.
        image_folder: below the root; its subfolders are searched too.
        label_folder: likewise.
        image_suffix: how names of pictures end.
        label_suffix: how names of label files end.
        word_list: a name of `list_vocabularies`.
        label_dtype: "uint8" or "uint16", the type of the label files.
        num_images: how many pictures the benchmark has.
        shared_images: the image folder holds other pictures besides, without labels.
    """

    name: str
    image_folder: str
    label_folder: str
    image_suffix: str
    label_suffix: str
    word_list: str
    label_dtype: str
    num_images: int
    shared_images: bool = False

    @property
    def ignore_label(self) -> int:
        """The label of pixels that do not count: the greatest value of the labels' type."""
        return int(np.iinfo(self.label_dtype).max)

    def load_dicts(self) -> list[dict[str, Any]]:
        """List the benchmark; none of the files is opened.

        Pictures without labels, labels without a picture and a number of pictures other than the
        benchmark's are logged as warnings.

        Returns:
            Dicts with ``file_name`` and ``sem_seg_file_name``, sorted by name.

        Raises:
            FileNotFoundError: a folder is missing, or no picture in it has labels.
        """
        image_folder = self._find(self.image_folder)
        label_folder = self._find(self.label_folder)
        images = _stems(image_folder, self.image_suffix)
        labels = _stems(label_folder, self.label_suffix)
        both = sorted(images & labels)
        if not both:
            raise FileNotFoundError(
                f"dataset {self.name!r}: no picture '*{self.image_suffix}' in {image_folder} "
                f"({len(images)} there) has labels '*{self.label_suffix}' in {label_folder} "
                f"({len(labels)} there); {self._remedy()}"
            )
        if not self.shared_images:
            self._report(images - labels, f"pictures in {image_folder} without labels")
        self._report(labels - images, f"label files in {label_folder} without a picture")
        if len(both) != self.num_images:
            _logger.warning(
                "dataset '%s' holds %d pictures; the benchmark has %d, so results will not compare",
                self.name,
                len(both),
                self.num_images,
            )
        return [
            {
                "file_name": str(image_folder / f"{stem}{self.image_suffix}"),
                "sem_seg_file_name": str(label_folder / f"{stem}{self.label_suffix}"),
                "image_id": stem,
            }
            for stem in both
        ]

    def _find(self, folder: str) -> Path:
        path = datasets_root() / folder
        if not path.is_dir():
            raise FileNotFoundError(
                f"dataset {self.name!r}: the folder {path} does not exist; {self._remedy()}"
            )
        return path

    def _remedy(self) -> str:
        return (
            f"set DETECTRON2_DATASETS (now {str(datasets_root())!r}) to the folder that holds the "
            "datasets; datasets/README.md says which files this one needs and whose scripts make "
            "them"
        )

    def _report(self, stems: set[str], what: str) -> None:
        if stems:
            shown = ", ".join(sorted(stems)[:_SHOWN])
            more = ", ..." if len(stems) > _SHOWN else ""
            _logger.warning(
                "dataset '%s': %d %s are left out: %s%s", self.name, len(stems), what, shown, more
            )


class BenchmarkMetadata(Metadata):
    """Metadata whose classes come from a word list when they are first asked for.

    ``vocabulary``, ``stuff_classes`` and ``class_sets`` are filled in together from the word list
    that the attribute ``word_list`` names; from then on they are attributes like any other.
    """

    def __getattr__(self, key: str) -> Any:
        """Fill in the classes; all else is as for any metadata."""
        if key not in _FROM_WORD_LIST or "word_list" not in self.__dict__:
            return super().__getattr__(key)
        vocabulary = load_vocabulary(self.word_list)
        self.__dict__.update(
            vocabulary=vocabulary,
            stuff_classes=list(vocabulary.names),
            class_sets={name: list(ids) for name, ids in vocabulary.class_sets.items()},
        )
        return self.__dict__[key]

    def __setattr__(self, key: str, value: Any) -> None:
        """Set an attribute, once: the classes are what the word list says, asked for or not."""
        if key in _FROM_WORD_LIST:
            self.get(key)
        super().__setattr__(key, value)

    def as_dict(self) -> dict[str, Any]:
        """All attributes, the classes among them, in a new dict."""
        self.get("vocabulary")
        return super().as_dict()


def datasets_root() -> Path:
    """The folder that holds all datasets: DETECTRON2_DATASETS, or "datasets" without it."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def _stems(folder: Path, suffix: str) -> set[str]:
    """Names of the files with a suffix, without it, relative to the folder, "/" in between."""
    stems: set[str] = set()
    # Links to folders are followed: data sets are often put together from several disks.
    for parent, _, names in os.walk(folder, followlinks=True):
        relative = Path(parent).relative_to(folder)
        stems.update(
            (relative / name.removesuffix(suffix)).as_posix()
            for name in names
            if name.endswith(suffix)
        )
    return stems


_VOC = "VOCdevkit/VOC2012"
_CONTEXT = "VOCdevkit/VOC2010"
_ADE_FULL = "ADE20K_2021_17_01"

_TESTS: tuple[Benchmark, ...] = (
    Benchmark(
        name="ovseg_voc20_val",
        image_folder=f"{_VOC}/JPEGImages",
        label_folder=f"{_VOC}/annotations_detectron2/val",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="voc20",
        label_dtype="uint8",
        num_images=1449,
        shared_images=True,
    ),
    Benchmark(
        name="ovseg_voc21_val",
        image_folder=f"{_VOC}/JPEGImages",
        # Not annotations_detectron2_bg, where CAT-Seg's preparation puts background last.
        label_folder=f"{_VOC}/annotations_detectron2/voc21_val",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="voc21",
        label_dtype="uint8",
        num_images=1449,
        shared_images=True,
    ),
    Benchmark(
        name="ovseg_context59_val",
        image_folder=f"{_CONTEXT}/JPEGImages",
        # Not pc59_val, which OVSeg's and CAT-Seg's preparations fill in different class orders.
        label_folder=f"{_CONTEXT}/annotations_detectron2/context59_val",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="context59",
        label_dtype="uint8",
        num_images=5104,
        shared_images=True,
    ),
    Benchmark(
        name="ovseg_context60_val",
        image_folder=f"{_CONTEXT}/JPEGImages",
        label_folder=f"{_CONTEXT}/annotations_detectron2/context60_val",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="context60",
        label_dtype="uint8",
        num_images=5104,
        shared_images=True,
    ),
    Benchmark(
        name="ovseg_context459_val",
        image_folder=f"{_CONTEXT}/JPEGImages",
        label_folder=f"{_CONTEXT}/annotations_detectron2/pc459_val",
        image_suffix=".jpg",
        label_suffix=".tif",
        word_list="context459",
        label_dtype="uint16",
        num_images=5104,
        shared_images=True,
    ),
    Benchmark(
        name="ovseg_coco_stuff171_val",
        image_folder="coco/val2017",
        label_folder="coco/stuffthingmaps_detectron2/val2017",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="coco_stuff171",
        label_dtype="uint8",
        num_images=5000,
    ),
    Benchmark(
        name="ovseg_coco_object_val",
        image_folder="coco/val2017",
        label_folder="coco/object_detectron2/val2017",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="coco_object",
        label_dtype="uint8",
        num_images=5000,
    ),
    Benchmark(
        name="ovseg_ade150_val",
        image_folder="ADEChallengeData2016/images/validation",
        label_folder="ADEChallengeData2016/annotations_detectron2/validation",
        image_suffix=".jpg",
        label_suffix=".png",
        word_list="ade150",
        label_dtype="uint8",
        num_images=2000,
    ),
    Benchmark(
        name="ovseg_ade847_val",
        image_folder=f"{_ADE_FULL}/images_detectron2/validation",
        label_folder=f"{_ADE_FULL}/annotations_detectron2/validation",
        image_suffix=".jpg",
        label_suffix=".tif",
        word_list="ade847",
        label_dtype="uint16",
        num_images=2000,
    ),
    Benchmark(
        name="ovseg_cityscapes_val",
        image_folder="cityscapes/leftImg8bit/val",
        label_folder="cityscapes/gtFine/val",
        image_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_labelTrainIds.png",
        word_list="cityscapes19",
        label_dtype="uint8",
        num_images=500,
    ),
)

# The sets that are trained on, where they are not those of the same name's tests: labels, number of
# pictures, and the pictures where they lie elsewhere.
_TRAININGS: dict[str, tuple[str, int, str]] = {
    "ovseg_voc20": (f"{_VOC}/annotations_detectron2/train", 10582, ""),
    "ovseg_context59": (f"{_CONTEXT}/annotations_detectron2/context59_train", 4996, ""),
    "ovseg_context60": (f"{_CONTEXT}/annotations_detectron2/context60_train", 4996, ""),
    "ovseg_coco_stuff171": (
        "coco/stuffthingmaps_detectron2/train2017",
        118287,
        "coco/train2017",
    ),
}

BENCHMARKS: tuple[Benchmark, ...] = (
    *_TESTS,
    *(
        replace(
            test,
            name=f"{stem}_train",
            label_folder=labels,
            num_images=count,
            image_folder=pictures or test.image_folder,
        )
        for test in _TESTS
        for stem, (labels, count, pictures) in _TRAININGS.items()
        if test.name == f"{stem}_val"
    ),
)


def register_benchmarks() -> None:
    """Register every row of `BENCHMARKS`; nothing is looked for or read."""
    for benchmark in BENCHMARKS:
        DatasetCatalog.register(benchmark.name, benchmark.load_dicts)
        MetadataCatalog[benchmark.name] = BenchmarkMetadata(
            name=benchmark.name,
            word_list=benchmark.word_list,
            ignore_label=benchmark.ignore_label,
            evaluator_type="sem_seg",
        )
