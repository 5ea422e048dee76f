"""The mask-category pairs of an image: its nouns, its masks, and the matches between them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..clip import MaskPromptedTower
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..data import shapes
from ..data.labels import LabelReader
from ..data.readers import read_image_of
from ..image_errors import ImageReadError, memory_for
from ..masks import MaskFileError, MaskPair, encode_masks, masks_of_labels
from ..mining import MaskMatcher, build_tagger, find_nouns, read_coco_captions
from ..ops import CropOptions, size_remedy
from ..plugin.clip_parts import build_text_bank, build_tower
from ..systems import OVSegClassifier
from ..vocab import read_class_names
from .proposal_masks import ALL_MASK_SOURCES, build_source

__all__ = ["NOUNS", "TRUTH", "MiningOptions", "PairMiner", "build_matcher", "find_labels"]

NOUNS = ("phrases", "nouns", "classes")
TRUTH = "labels"  # beside the names of `ALL_MASK_SOURCES`


@dataclass(frozen=True)
class MiningOptions:
    """The sources of masks and nouns.

    Paper: [ovseg] Sec. 3.2 matches proposals with the nouns of captions; its alternatives are true
    masks with their class names ("labels" and "classes"), and with the nouns of captions.

    Attributes:
        masks: a key of `ALL_MASK_SOURCES`; or "labels", one mask for each class of the labels.
        mask_options: of the source.
        nouns: "phrases" or "nouns" of captions, or the "classes" of the labels.
        captions: a file of COCO captions; "" takes the Shapes world's.
        captions_per_image: number of an image's captions that are read; 0 takes all.
        tagger: a name of `mining.TAGGERS`.
        tagger_options: of the tagger.

    Raises:
        ValueError: an unknown value, or "classes" with masks that have none.
    """

    masks: str = "shapes"
    mask_options: Mapping[str, Any] = field(default_factory=dict)
    nouns: str = "phrases"
    captions: str = ""
    captions_per_image: int = 0
    tagger: str = "hanta"
    tagger_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, known in (
            ("masks", self.masks, (TRUTH, *ALL_MASK_SOURCES)),
            ("nouns", self.nouns, NOUNS),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}; choose one of {', '.join(known)}")
        if self.nouns == "classes" and self.masks != TRUTH:
            raise ValueError(
                f"masks={self.masks!r} have no classes; choose nouns='phrases', or masks='{TRUTH}'"
            )
        if self.masks == TRUTH and self.mask_options:
            raise ValueError(f"masks='{TRUTH}' take no options, and got {dict(self.mask_options)}")
        if self.captions_per_image < 0:
            raise ValueError(
                f"captions_per_image={self.captions_per_image}; give 1 or more, or 0 for all"
            )

    def describe(self) -> dict[str, Any]:
        """The options as JSON; the file of captions without its folder, since it may be moved."""
        return asdict(self) | {"captions": Path(self.captions).name}


def find_labels(inputs: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Find the labels of the images of those inputs that are registered datasets.

    Returns:
        Image -> (label file, dataset) of its entries, without duplicates.
    """
    labels_of: dict[str, list[tuple[str, str]]] = {}
    for name in inputs:
        for entry in DatasetCatalog.get(name) if name in DatasetCatalog.list() else ():
            if "sem_seg_file_name" in entry:
                labels = labels_of.setdefault(entry["file_name"], [])
                if (entry["sem_seg_file_name"], name) not in labels:
                    labels.append((entry["sem_seg_file_name"], name))
    return labels_of


def build_matcher(cfg: CfgNode, device: str) -> MaskMatcher:
    """The matcher of masked crops and nouns by CLIP without any adaptation.

    Args:
        cfg: reads the tower's and the text's keys, ``MODEL.MASK_ADAPTED_CLIP.FILL`` and
            ``INPUT.PAIRS.EXPAND_RATIO``.
        device: of CLIP.
    """
    tower = build_tower(cfg).eval().to(device)
    crop = CropOptions(
        fill=cfg.MODEL.MASK_ADAPTED_CLIP.FILL, expand_ratio=cfg.INPUT.PAIRS.EXPAND_RATIO
    )
    classifier = OVSegClassifier(MaskPromptedTower(tower, depth=0), crop=crop)
    return MaskMatcher(classifier, build_text_bank(cfg, tower))


class _LeftOut(Exception):
    """An image gives no pair; the text is the reason."""


class PairMiner:
    """Makes the pairs of images."""

    def __init__(
        self,
        options: MiningOptions,
        labels: Mapping[str, Sequence[tuple[str, str]]],
        cfg: CfgNode,
        device: str = "cpu",
    ) -> None:
        """Build only the parts that the options need.

        Args:
            options: the sources of masks and nouns.
            labels: from `find_labels`; images of the Shapes world need none.
            cfg: see `build_matcher`.
            device: of CLIP, and of the mask source's model.

        Raises:
            ValueError: captions that cannot be read, a source or tagger that cannot be built.
        """
        self._options = options
        self._labels = labels
        self._reader = LabelReader(strict=False)
        self._captions = read_coco_captions(options.captions).captions if options.captions else {}
        self._tagger = self._matcher = None
        if options.nouns != "classes":
            self._tagger = build_tagger(options.tagger, **options.tagger_options)
            self._matcher = build_matcher(cfg, device)
        self._source = None
        if options.masks != TRUTH:
            self._source = build_source(options.masks, options.mask_options, device)

    def nouns_of(self, name: str) -> dict[str, str]:
        """Noun -> the first caption with it, of an image; {} for nouns "classes"."""
        if self._tagger is None:
            return {}
        if self._options.captions:
            captions = self._captions.get(Path(name).name, ())
        else:
            captions = shapes.read_captions(name) if shapes.is_shapes_name(name) else ()
        nouns: dict[str, str] = {}
        for caption in captions[: self._options.captions_per_image or None]:
            phrases = self._options.nouns == "phrases"
            for noun in find_nouns(self._tagger(caption), phrases=phrases):
                nouns.setdefault(noun, caption)
        return nouns

    def remember(self, nouns: Sequence[str]) -> None:
        """Encode the nouns of several images at once."""
        if self._matcher is not None:
            self._matcher.remember(nouns)

    def mine(self, name: str, nouns: Mapping[str, str]) -> tuple[list[MaskPair], str]:
        """Make the pairs of one image.

        Args:
            name: of the image.
            nouns: from `nouns_of`.

        Returns:
            Its pairs, and the reason if there are none (else "").

        Raises:
            ValueError: the mask source or the labels do not have such images.
        """
        try:
            with memory_for(name):
                return self._mine(name, nouns), ""
        except (_LeftOut, ImageReadError, MaskFileError) as error:
            return [], str(error)

    def _mine(self, name: str, nouns: Mapping[str, str]) -> list[MaskPair]:
        if self._options.nouns != "classes" and not nouns:
            raise _LeftOut(f"{name}: no noun in its captions, or no captions")
        if self._source is None:
            masks, classes = self._truth_of(name)
        else:
            masks, classes = np.empty(0), []
        if self._source is not None or self._matcher is not None:
            image = read_image_of(name)
            masks = masks if self._source is None else self._source(image, name)
            _check_size(name, masks, image)
        if not masks.any():
            raise _LeftOut(f"{name}: no masks")
        rles = encode_masks(masks)
        if self._matcher is None:
            return [MaskPair(name, rle, noun) for rle, noun in zip(rles, classes, strict=True)]
        return [
            MaskPair(name, rles[match.mask], match.noun, nouns[match.noun], match.score)
            for match in self._matcher(image, masks, list(nouns))
        ]

    def _truth_of(self, name: str) -> tuple[np.ndarray, list[str]]:
        """(Q, H, W) masks of the labels used in training, and their class names."""
        if shapes.is_shapes_name(name):
            labels = shapes.read_labels(name, hide_novel=True)
            return _masks_of(labels.astype(np.int64), shapes.CLASSES)
        if name not in self._labels:
            raise ValueError(
                f"{name} has no labels; for masks='{TRUTH}' name a registered dataset with labels, "
                "or images of the Shapes world"
            )
        parts = [
            _masks_of(self._reader.read(dataset, label_file), _class_names(dataset))
            for label_file, dataset in self._labels[name]
        ]
        sizes = {masks.shape[1:] for masks, _ in parts}
        if len(sizes) > 1:
            raise _LeftOut(f"{name}: its label files have different sizes, {sorted(sizes)}")
        masks = np.concatenate([masks for masks, _ in parts])
        return masks, [name for _, classes in parts for name in classes]


def _masks_of(labels: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """(Q, H, W) masks of (H, W) labels, and their class names."""
    ids = np.unique(labels)
    known = (ids >= 0) & (ids < len(classes))
    return masks_of_labels(labels)[known], [classes[class_id] for class_id in ids[known]]


def _class_names(dataset: str) -> list[str]:
    return read_class_names(MetadataCatalog.get(dataset), f"dataset {dataset!r}")


def _check_size(name: str, masks: np.ndarray, image: np.ndarray) -> None:
    if masks.shape[1:] != image.shape[:2]:
        raise _LeftOut(
            f"{name}: its masks are {masks.shape[1]} x {masks.shape[2]} pixels and the image is "
            f"{image.shape[0]} x {image.shape[1]}; {size_remedy(masks.shape[1:], image.shape[:2])}"
        )
