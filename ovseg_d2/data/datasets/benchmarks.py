"""The real benchmarks in detectron2's catalogs, from the table `benchmarks.tsv`.

Registering reads no dataset. Folders are listed each time a dataset is loaded, below the
environment variable DETECTRON2_DATASETS at that time. Class names come from a word list of the
package, which is read on the first access to them and needs no images.
"""

import csv
import logging
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ...d2.data import DatasetCatalog, Metadata, MetadataCatalog
from ...files import expand_user
from ...vocab import load_vocabulary

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkMetadata",
    "datasets_root",
    "list_stems",
    "register_benchmarks",
]

_logger = logging.getLogger(__name__)

_SHOWN = 3  # names of files in a message
# Attributes of metadata that come from the word list.
_FROM_WORD_LIST = ("vocabulary", "stuff_classes", "class_sets")


@dataclass(frozen=True)
class Benchmark:
    """Where the images and labels of a benchmark are, and what its labels mean.

    An image and its labels have the same name, folders included, apart from the two suffixes.
    Labels hold contiguous class ids, which index the word list, and the ignore label.

    Args:
        name: as registered.
        image_folder: below the root, searched with its subfolders.
        label_folder: below the root, searched with its subfolders.
        image_suffix: end of the names of images.
        label_suffix: end of the names of label files.
        word_list: a name of `list_vocabularies`.
        label_dtype: "uint8" or "uint16", the type of the label files.
        num_images: number of images of the benchmark.
        shared_images: the image folder also holds images of other splits, without labels.
    """

    name: str
    image_folder: str
    label_folder: str
    image_suffix: str
    label_suffix: str
    word_list: str
    label_dtype: str
    num_images: int
    shared_images: bool

    @property
    def ignore_label(self) -> int:
        """Label of pixels that do not count: the greatest value of the labels' type."""
        return int(np.iinfo(self.label_dtype).max)

    def load_dicts(self) -> list[dict[str, Any]]:
        """List the benchmark without opening its files.

        A warning names images without labels, labels without an image, and a number of images
        other than the benchmark's.

        Returns:
            Dicts with ``file_name`` and ``sem_seg_file_name``, sorted by name.

        Raises:
            FileNotFoundError: a folder is missing, or no image in it has labels.
        """
        image_folder = self._find(self.image_folder)
        label_folder = self._find(self.label_folder)
        images = list_stems(image_folder, self.image_suffix)
        labels = list_stems(label_folder, self.label_suffix)
        both = sorted(images & labels)
        if not both:
            raise FileNotFoundError(
                f"dataset {self.name!r}: no image '*{self.image_suffix}' in {image_folder} "
                f"({len(images)} there) has labels '*{self.label_suffix}' in {label_folder} "
                f"({len(labels)} there); {self._remedy()}"
            )
        if not self.shared_images:
            self._report(images - labels, f"images in {image_folder} without labels")
        self._report(labels - images, f"label files in {label_folder} without an image")
        if len(both) != self.num_images:
            _logger.warning(
                "dataset '%s' holds %d images; the benchmark has %d, so results will not compare",
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
            "datasets; datasets/README.md says which files this one needs and which command makes "
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
    """Metadata that read their classes from a word list on the first access.

    ``vocabulary``, ``stuff_classes`` and ``class_sets`` are filled in together from the word list
    that the attribute ``word_list`` names; then they are ordinary attributes.
    """

    def __getattr__(self, key: str) -> Any:
        """Fill in the classes on the first access to them."""
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
        """Set an attribute once; a class list other than the word list's is refused."""
        if key in _FROM_WORD_LIST:
            self.get(key)
        super().__setattr__(key, value)

    def as_dict(self) -> dict[str, Any]:
        """All attributes, with the classes, in a new dict."""
        self.get("vocabulary")
        return super().as_dict()


def datasets_root() -> Path:
    """Folder of all datasets: the variable DETECTRON2_DATASETS, or "datasets" without it."""
    return expand_user(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def list_stems(folder: Path, suffix: str) -> set[str]:
    """Relative paths, with "/" and without the suffix, of the files that end with `suffix`."""
    stems: set[str] = set()
    # Links to folders are followed: datasets are often put together from several disks.
    for parent, _, names in os.walk(folder, followlinks=True):
        relative = Path(parent).relative_to(folder)
        stems.update(
            (relative / name.removesuffix(suffix)).as_posix()
            for name in names
            if name.endswith(suffix) and not name.startswith(".")  # "._name" of macOS
        )
    return stems


def _read_table() -> tuple[Benchmark, ...]:
    """Read `benchmarks.tsv`: a header of column names, a benchmark a line, "#" before comments."""
    text = (resources.files(__package__) / "benchmarks.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        Benchmark(
            **{
                **row,
                "num_images": int(row["num_images"]),
                "shared_images": row["shared_images"] == "yes",
            }
        )
        for row in csv.DictReader(lines, delimiter="\t")
    )


BENCHMARKS: tuple[Benchmark, ...] = _read_table()


def register_benchmarks() -> None:
    """Register every entry of `BENCHMARKS` without reading a dataset."""
    for benchmark in BENCHMARKS:
        DatasetCatalog.register(benchmark.name, benchmark.load_dicts)
        MetadataCatalog[benchmark.name] = BenchmarkMetadata(
            name=benchmark.name,
            word_list=benchmark.word_list,
            ignore_label=benchmark.ignore_label,
            evaluator_type="sem_seg",
        )
