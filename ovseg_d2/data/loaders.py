"""Loaders for training (endless, resumable) and for tests."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from ..d2.data.samplers import InferenceSampler
from ..d2.utils import comm
from ..image_errors import ImageTooLargeError, memory_for
from .datasets import is_pair_file, pair_dicts
from .label_watch import LabelWatch
from .mappers import TEST_MAPPERS, TRAIN_MAPPERS
from .sampler import Draw, SampleStream

__all__ = [
    "LEFT_OUT",
    "TrainLoader",
    "build_test_loader",
    "check_dataset_names",
    "build_train_loader",
    "load_dataset_dicts",
]

Mapper = Callable[[dict[str, Any], Draw], dict[str, Any] | None]
_MAX_REDRAWS = 20
_IMAGES_TOGETHER = 32  # batch size of evaluations that need one vector of an image

# Key of an input without an image; its value is a sentence with the reason.
LEFT_OUT = "left_out"


class _LeavingOut:
    """A test mapper that sets `LEFT_OUT` for images that are too large."""

    def __init__(self, mapper: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._mapper = mapper

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        try:
            with memory_for(dataset_dict["file_name"]):
                return self._mapper(dataset_dict)
        except ImageTooLargeError as error:
            return {**dataset_dict, LEFT_OUT: str(error)}


class _DrawnDataset(Dataset):
    """Maps draws to samples; an unusable sample is replaced by the next usable one."""

    def __init__(self, dicts: Sequence[dict[str, Any]], mapper: Mapper) -> None:
        self._dicts = dicts
        self._mapper = mapper

    def __len__(self) -> int:
        return len(self._dicts)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        for step in range(_MAX_REDRAWS):
            # The next entries of the dataset: the replacement depends on the draw alone, too.
            index = (draw.index + step) % len(self._dicts)
            sample = self._mapper(dict(self._dicts[index]), draw)
            if sample is not None:
                return sample
        name = self._dicts[draw.index % len(self._dicts)].get("dataset_name", "the dataset")
        raise ValueError(
            f"{_MAX_REDRAWS} samples in a row, from number {draw.index} of {name!r}, could not be "
            "used; repair them or remove them from the dataset: the log names the problem of "
            "each of them"
        )


class TrainLoader:
    """Endless iterable of this rank's batches, lists of samples, from any iteration on."""

    def __init__(
        self,
        dicts: Sequence[dict[str, Any]],
        mapper: Mapper,
        stream: SampleStream,
        num_workers: int,
    ) -> None:
        """Prepare the loader; workers start with the first iteration."""
        self._dataset = _DrawnDataset(dicts, mapper)
        self._stream = stream
        self._num_workers = num_workers

    def start_at(self, iteration: int) -> None:
        """Start the next ``iter`` with the batch of ``iteration``."""
        self._stream.start_iteration = iteration

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Iterate over batches without end; warnings are those of `LabelWatch`."""
        batches = iter(
            DataLoader(
                self._dataset,
                batch_size=self._stream.share,
                sampler=self._stream,
                num_workers=self._num_workers,
                collate_fn=list,
                persistent_workers=self._num_workers > 0,
            )
        )
        return LabelWatch(len(self._dataset)).watch(batches)


def check_dataset_names(names: Iterable[str]) -> None:
    """Refuse names of datasets that are not registered.

    Raises:
        ValueError: an unknown name.
    """
    known = DatasetCatalog.list()
    for name in names:
        if name not in known:
            ours = [name for name in known if name.startswith("ovseg_")]
            raise ValueError(
                f"dataset {name!r} is not registered; the plugin's are {', '.join(ours)}, and "
                "DatasetCatalog.register adds your own"
            )


def load_dataset_dicts(names: Sequence[str]) -> list[dict[str, Any]]:
    """Concatenate the dicts of several datasets, with ``dataset_name`` added.

    Args:
        names: names of registered datasets, or paths of files of pairs (``....jsonl``).

    Raises:
        ValueError: no name, an unknown name, or an empty dataset.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"DATASETS {names!r} must be a list of at least one dataset name")
    dicts: list[dict[str, Any]] = []
    for name in names:
        if is_pair_file(name):
            entries = pair_dicts(name)
        else:
            check_dataset_names([name])
            entries = DatasetCatalog.get(name)
        if not entries:
            raise ValueError(f"dataset {name!r} is empty; check the folder it is read from")
        dicts += [{**entry, "dataset_name": name} for entry in entries]
    return dicts


def build_train_loader(cfg: CfgNode, start_iteration: int = 0) -> TrainLoader:
    """Build the training loader of a config.

    Args:
        cfg: reads ``DATASETS.TRAIN``, ``INPUT.TRAIN_MAPPER``, ``SOLVER.IMS_PER_BATCH``, ``SEED``
            and ``DATALOADER.NUM_WORKERS``.
        start_iteration: iteration of the first batch.

    Raises:
        ValueError: unknown dataset or mapper, or a batch that cannot be shared out.
    """
    name = cfg.INPUT.TRAIN_MAPPER
    if name not in TRAIN_MAPPERS:
        raise ValueError(
            f"INPUT.TRAIN_MAPPER {name!r} is unknown; choose one of {', '.join(TRAIN_MAPPERS)}"
        )
    dicts = load_dataset_dicts(cfg.DATASETS.TRAIN)
    stream = SampleStream(
        len(dicts),
        cfg.SOLVER.IMS_PER_BATCH,
        seed=cfg.SEED,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
        start_iteration=start_iteration,
    )
    mapper = TRAIN_MAPPERS[name].from_config(cfg)
    return TrainLoader(dicts, mapper, stream, cfg.DATALOADER.NUM_WORKERS)


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Build a loader of a dataset's images, shared out to the ranks, in detectron2's format.

    Batches hold one image, or several in evaluations that need one vector of an image. An input
    whose image is too large has `LEFT_OUT` in place of pixels.

    Args:
        cfg: reads the keys of `TestMapper`, ``DATALOADER.NUM_WORKERS``,
            ``TEST.MAX_IMAGES`` and ``TEST.TASK``.
        dataset_name: a registered dataset.

    Raises:
        ValueError: the dataset is unknown or empty, or the task is unknown.
    """
    if cfg.TEST.TASK not in TEST_MAPPERS:
        raise ValueError(
            f"TEST.TASK {cfg.TEST.TASK!r} is unknown; choose one of {', '.join(TEST_MAPPERS)}"
        )
    dicts = load_dataset_dicts([dataset_name])
    if cfg.TEST.MAX_IMAGES > 0:
        dicts = dicts[: cfg.TEST.MAX_IMAGES]
    evaluator_type = MetadataCatalog.get(dataset_name).get("evaluator_type", "sem_seg")
    return build_detection_test_loader(
        dicts,
        mapper=_LeavingOut(TEST_MAPPERS[cfg.TEST.TASK].from_config(cfg)),
        sampler=InferenceSampler(len(dicts)),
        batch_size=1 if evaluator_type == "sem_seg" else _IMAGES_TOGETHER,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
