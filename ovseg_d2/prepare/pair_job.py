"""Mining the pairs of many images: resumable, and shared by the processes of a job.

A part is a file with the pairs of some neighbouring images. When all parts are there they are
joined to one file, which does not depend on the number of processes.
"""

import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..d2.config import CfgNode
from ..d2.utils import comm
from ..data import shapes
from ..data.find_images import find_images
from ..files import expand_user, write_atomically
from ..masks import MaskPair, PairFile, read_pair_info, read_pairs, write_pairs
from ..mining import read_coco_captions
from .pair_miner import MiningOptions, PairMiner, find_labels

__all__ = ["PAIR_FILE", "PairJob", "describe_summary", "plan_pairs"]

PAIR_FILE = "pairs.jsonl"
_SUMMARY = "summary.json"
_PARTS = "parts"
_PART_SIZE = 64  # images that a killed process has to repeat, at most
_MOST_COMMON = 20


@dataclass(frozen=True)
class PairJob:
    """The images, the sources of masks and nouns, and the output folder.

    Attributes:
        images: names of the images.
        labels: from `find_labels`.
        options: the sources of masks and nouns.
        info: everything that the result depends on, as JSON.
        output: the folder.
    """

    images: tuple[str, ...]
    labels: Mapping[str, Sequence[tuple[str, str]]]
    options: MiningOptions
    info: Mapping[str, Any]
    output: Path

    @property
    def is_done(self) -> bool:
        """Whether the joined file exists.

        Raises:
            ValueError: it was made from other inputs or options.
        """
        return self._is_made(self.output / PAIR_FILE)

    def run(self, cfg: CfgNode, device: str) -> None:
        """Make the missing parts of this process's share.

        An image without masks, nouns or captions, or that cannot be read, is reported and left out.
        ``cfg`` and ``device`` are those of `PairMiner`.

        Raises:
            ValueError: options that `PairMiner` refuses, or a folder with pairs of other inputs or
                options.
            WriteError: a file cannot be written.
        """
        if self.is_done:
            return
        share = range(len(self._parts()))[comm.get_rank() :: comm.get_world_size()]
        todo = [number for number in share if not self._is_made(self._part(number))]
        if not todo:
            return
        miner = PairMiner(self.options, self.labels, cfg, device)
        counts = {number: len(self._parts()[number]) for number in share}
        done = sum(counts[number] for number in share if number not in todo)
        # The shares of the processes are alike, so that the first one's bar stands for all.
        disable = comm.get_rank() > 0
        with tqdm(total=sum(counts.values()), initial=done, unit="image", disable=disable) as bar:
            for number in todo:
                self._make_part(number, miner, bar)

    def finish(self) -> dict[str, Any] | None:
        """Join the parts and write the summary, in one process after all have run.

        Returns:
            The content of ``summary.json``; None while parts are missing.

        Raises:
            PairFileError: a part is damaged.
            WriteError: a file cannot be written.
        """
        path, parts = self.output / PAIR_FILE, range(len(self._parts()))
        if not self.is_done:
            if not all(self._is_made(self._part(number)) for number in parts):
                return None
            left_out: dict[str, str] = {}
            for number in parts:
                left_out |= _left_out_of(read_pair_info(self._part(number)))
            write_pairs(path, self._joined(), {**self.info, "left_out": left_out})
        shutil.rmtree(self.output / _PARTS, ignore_errors=True)
        summary = _sum_up(read_pairs(path))
        with write_atomically(self.output / _SUMMARY, "w") as file:
            json.dump(summary, file, indent=2)
        return summary

    def _parts(self) -> list[tuple[str, ...]]:
        starts = range(0, len(self.images), _PART_SIZE)
        return [self.images[start : start + _PART_SIZE] for start in starts]

    def _part(self, number: int) -> Path:
        return self.output / _PARTS / f"{number:06d}.jsonl"

    def _make_part(self, number: int, miner: PairMiner, bar: tqdm) -> None:
        names = self._parts()[number]
        nouns = {name: miner.nouns_of(name) for name in names}
        miner.remember([noun for image_nouns in nouns.values() for noun in image_nouns])
        pairs: list[MaskPair] = []
        left_out: dict[str, str] = {}
        for name in names:
            image_pairs, reason = miner.mine(name, nouns[name])
            if reason:
                left_out[name] = reason
                tqdm.write(f"left out: {reason}", file=sys.stderr)
            pairs += [replace(pair, image=self._relative(name)) for pair in image_pairs]
            bar.update()
        write_pairs(self._part(number), pairs, {**self.info, "left_out": left_out})

    def _relative(self, name: str) -> str:
        if shapes.is_shapes_name(name):
            return name
        return os.path.relpath(os.path.abspath(name), self.info["image_root"])

    def _joined(self) -> Iterator[MaskPair]:
        root = self.info.get("image_root", "")
        for number in range(len(self._parts())):
            part = read_pairs(self._part(number))
            if part.left_out.count:
                tqdm.write(f"{self._part(number)}: {part.left_out}", file=sys.stderr)
            for pair in part.pairs:
                virtual = shapes.is_shapes_name(pair.image)
                yield pair if virtual else replace(pair, image=os.path.relpath(pair.image, root))

    def _is_made(self, path: Path) -> bool:
        if not path.is_file():
            return False
        kept = read_pair_info(path)
        kept.pop("left_out", None)
        if kept != self.info:
            differing = sorted(
                name
                for name in {*kept, *self.info}
                if kept.get(name, self) != self.info.get(name, self)
            )
            raise ValueError(
                f"{path} was made by another command (it differs in {', '.join(differing)}); "
                "choose another output folder, or remove this one to make its pairs again"
            )
        return True


def plan_pairs(
    inputs: Sequence[str], options: MiningOptions, cfg: CfgNode, output: str | os.PathLike[str]
) -> PairJob:
    """List the images, and everything that the pairs will depend on.

    Args:
        inputs: see :func:`~ovseg_d2.data.find_images.find_images`.
        options: the sources of masks and nouns.
        cfg: of the CLIP that matches.
        output: the folder.

    Raises:
        ValueError: no images, or captions that cannot be read.
    """
    images = tuple(find_images(inputs))
    captions: Mapping[str, Sequence[str]] = {}
    if options.captions:
        file = read_coco_captions(options.captions)
        captions = file.captions
        if file.num_broken:
            tqdm.write(f"{options.captions}: {file.num_broken} broken entries are left out")
    info = options.describe()
    if options.nouns != "classes":
        clip = cfg.MODEL.CLIP
        info["clip"] = [clip.NAME, clip.PRETRAINED, cfg.MODEL.MASK_ADAPTED_CLIP.FILL]
        info["templates"] = list(cfg.MODEL.TEXT.TEMPLATES)
        info["expand_ratio"] = cfg.INPUT.PAIRS.EXPAND_RATIO
    info["pictures"] = len(images)
    info["digest"] = hashlib.sha256(json.dumps([images, captions]).encode()).hexdigest()[:16]
    folders = {os.path.dirname(os.path.abspath(p)) for p in images if not shapes.is_shapes_name(p)}
    if folders:
        info["image_root"] = os.path.commonpath(sorted(folders))
    folder = expand_user(output)
    return PairJob(images, find_labels(inputs), options, json.loads(json.dumps(info)), folder)


def _left_out_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Image without a pair -> reason; {} if that cannot be read."""
    left_out = info.get("left_out")
    return left_out if isinstance(left_out, dict) else {}


def _sum_up(file: PairFile) -> dict[str, Any]:
    nouns = Counter(pair.noun for pair in file.pairs)
    left_out = _left_out_of(file.info)
    return {
        "pictures": file.info.get("pictures"),
        "left_out": len(left_out),
        "pairs": len(file.pairs),
        "unique_nouns": len(nouns),
        "most_common": nouns.most_common(_MOST_COMMON),
        "why_left_out": left_out,
    }


def describe_summary(summary: Mapping[str, Any]) -> str:
    """A summary in a few readable lines."""
    common = ", ".join(f"{noun} {count}" for noun, count in summary["most_common"])
    return (
        f"{summary['pairs']} pairs of {summary['unique_nouns']} nouns from {summary['pictures']} "
        f"images, {summary['left_out']} of them left out\nmost common: {common or 'none'}"
    )
