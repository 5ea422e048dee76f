"""Choose prompt templates for each class of a dataset by its images, without labels."""

from collections.abc import Sequence

import torch
from tqdm import tqdm

from ..d2.config import CfgNode
from ..data.loaders import build_test_loader
from ..image_errors import memory_for
from ..ops import entropy_by_class, lowest_entropy
from ..plugin import MaskCLIP
from ..plugin.clip_parts import named_or_listed
from ..text import TextBank, get_templates
from .loading import load_model

__all__ = ["choose_templates"]

# Scores in memory at once: 256 MiB of float32.
_MAX_ELEMENTS = 2**26


@torch.no_grad()
def choose_templates(
    cfg: CfgNode, candidates: Sequence[str], keep: int
) -> dict[str, tuple[str, ...]]:
    """Return the templates of lowest prediction entropy for each word of a dataset's classes.

    Source: the official code of [floss]: a template's entropy for a class is the mean, over the
    places that the class wins, of the entropy of the softmax of its scaled cosines.
    Departs: places are patches of whole images, not pixels; and the chosen templates make the
    embedding of their class alone, where the release compares all classes in the templates of each
    and fuses as many predictions as there are classes.

    Args:
        cfg: names a MaskCLIP and the first of ``DATASETS.TEST``, whose first ``TEST.MAX_IMAGES``
            images are read.
        candidates: the name of a template set alone, or templates.
        keep: most templates of a class.

    Returns:
        Word -> templates, the lowest entropy first; words of classes that no patch shows are left
        out. All words of a class have its templates, and so has their list, joined by commas.

    Raises:
        ValueError: another model, no dataset, or ``keep`` below 1.
    """
    lowest_entropy(torch.zeros(1, 1), torch.zeros(1, 1), keep)  # refuses keep before any work
    if not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty; name the dataset whose images choose templates")
    model, _ = load_model(cfg)
    if not isinstance(model, MaskCLIP):
        raise ValueError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} does not compare patches with "
            "texts; choose MaskCLIP"
        )
    templates = get_templates(named_or_listed(candidates))
    name = cfg.DATASETS.TEST[0]
    vocabulary = model.vocabulary_of({"dataset_name": name})
    bank = model.text_bank
    embeds = torch.stack(
        [
            TextBank(
                bank.tower, [template], underscores_are_spaces=bank.underscores_are_spaces
            ).embed(vocabulary)
            for template in templates
        ]
    )  # (T, K, D)
    sums = torch.zeros(embeds.shape[:2], dtype=torch.float64)
    counts = torch.zeros_like(sums)
    for batch in tqdm(build_test_loader(cfg, name), desc="Choosing templates", unit="image"):
        for sample in batch:
            with memory_for(str(sample.get("file_name", "an image"))):
                found = _entropy_of_image(model, sample, embeds)
            sums += found[0].cpu()
            counts += found[1].cpu()
    chosen: dict[str, tuple[str, ...]] = {}
    for words, ids in zip(vocabulary.synonyms, lowest_entropy(sums, counts, keep), strict=True):
        for word in (*words, ", ".join(words)):
            if ids:
                chosen.setdefault(bank.prompt_word(word), tuple(templates[t] for t in ids))
    return chosen


def _entropy_of_image(
    model: MaskCLIP, sample: dict[str, object], embeds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Entropy (T, K) and numbers of patches (T, K) of one image for embeddings (T, K, D)."""
    image, maskclip = model.rgb_image(sample), model.maskclip
    patch_h, patch_w = maskclip.tower.patch_size
    patches = -(-image.shape[2] // patch_h) * -(-image.shape[3] // patch_w)
    at_once = max(1, _MAX_ELEMENTS // (embeds.shape[1] * patches))
    parts = []
    for some in embeds.split(at_once):
        cosines = maskclip(image, some.flatten(0, 1))[0].unflatten(0, some.shape[:2])
        parts.append(entropy_by_class(cosines * maskclip.scale))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
