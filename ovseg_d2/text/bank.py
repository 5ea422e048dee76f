"""`TextBank`: words -> unit vectors; each word is encoded once.

Encoding a vocabulary through 80 templates costs far more than segmenting an image with it, so
embeddings are cached, by content (weights, templates, word): a text tower with changed weights, or
other words, give new vectors.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ovseg_d2.files import WriteError, write_atomically
from ovseg_d2.text.class_texts import ClassTexts
from ovseg_d2.text.fingerprint import TextFingerprint
from ovseg_d2.text.templates import get_templates
from ovseg_d2.vocab import Vocabulary, name_some, read_words
from ovseg_d2.vocab.lines import fold_word

if TYPE_CHECKING:
    from ovseg_d2.clip import CLIPTower

__all__ = ["SynonymPolicy", "TextBank"]

SynonymPolicy = Literal["mean", "joined", "max"]

_LOGGER = logging.getLogger(__name__)
# Words cached in memory: 16384 rows of 768 float32 values are 50 MB.
_MAX_WORDS = 16384
# A progress bar is shown for more prompts than this.
_PROGRESS_PROMPTS = 2000


class TextBank:
    """Embeds vocabularies with a CLIP text tower and caches every word.

    A word's embedding is the mean over T templates of the unit-norm prompt embeddings, normalised
    again. Source: [clip] Sec. 3.1.4 (ensembling in embedding space), as in the official
    code of [maskclip] and [ovseg].

    Departs: [pixelclip]'s code averages the words of a class within each template, then over
    templates. The results differ only for several words a class with several templates; no class
    of its benchmarks has several words.

    Args:
        tower: the CLIP tower whose text half encodes; it is never changed.
        templates: a name of `TEMPLATE_SETS` or a list of templates with one ``{}`` each.
        synonyms: "mean" takes the normalised mean of the unit vectors of a class's words; "joined"
            puts the words into one prompt, separated by ", " (as [ovseg] does for ADE20K); "max"
            keeps one vector a word, and a class's score is the best of its words' scores ([sclip],
            [naclip]), see `class_texts`.
        word_templates: templates of single words in place of ``templates``; see
            `read_word_templates`.
        underscores_are_spaces: prompts hold "traffic light" for the word "traffic_light"; names of
            classes stay.
        cache_dir: folder for embeddings on disk, created when first needed; None caches in memory
            only.
        batch_size: the largest number of prompts encoded at once.

    Raises:
        ValueError: unknown templates or policy, or a batch size below 1.
    """

    def __init__(
        self,
        tower: CLIPTower,
        templates: str | Sequence[str] = "single",
        *,
        synonyms: SynonymPolicy = "mean",
        word_templates: Mapping[str, Sequence[str]] | None = None,
        underscores_are_spaces: bool = False,
        cache_dir: str | Path | None = None,
        batch_size: int = 256,
    ) -> None:
        """Resolve the templates; encode nothing yet."""
        if synonyms not in get_args(SynonymPolicy):
            raise ValueError(
                f"synonyms is {synonyms!r}; choose from {list(get_args(SynonymPolicy))}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.tower = tower
        self.templates = get_templates(templates)
        self.synonyms = synonyms
        self.word_templates = {
            word: get_templates(own) for word, own in (word_templates or {}).items()
        }
        self.underscores_are_spaces = underscores_are_spaces
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.batch_size = batch_size
        self._fingerprint = TextFingerprint(tower)
        # (fingerprint, word) -> (D,) float32 on the CPU, least recently used first.
        self._memory: OrderedDict[tuple[str, str], Tensor] = OrderedDict()

    @torch.no_grad()
    def embed(self, vocabulary: Vocabulary | Sequence[str]) -> Tensor:
        """Embed K classes, see `class_texts`: (K, D) with one row a class.

        Raises:
            ValueError: those of `class_texts`, or the policy "max" and a class of several words.
        """
        vocabulary = _as_vocabulary(vocabulary)
        if self.synonyms == "max" and any(len(words) > 1 for words in vocabulary.synonyms):
            raise ValueError(
                "synonyms is 'max', and a class of several words has several vectors; call "
                "class_texts, whose best_of_words reduces the rows' scores, or choose 'mean'"
            )
        return self.class_texts(vocabulary).embeds

    @torch.no_grad()
    def class_texts(
        self, vocabulary: Vocabulary | Sequence[str], negative_words: Sequence[str] = ()
    ) -> ClassTexts:
        """Embed a vocabulary: one row a class, or with "max" one row a word.

        Rows of words are in the order of the classes, then of the words of a class.

        Args:
            vocabulary: K classes, or their names.
            negative_words: words of which each has a further row of the first background class,
                except for words of the vocabulary.

        Returns:
            (R, D) float32 embeddings of unit norm on the tower's device, without gradient, and the
            vocabulary's background classes.

        Raises:
            ValueError: a prompt longer than the tower's context, names that `Vocabulary` refuses,
                or negative words and a vocabulary without background.
        """
        words: list[str] = []  # of all rows, one after the other
        row_ids: list[int] = []  # the row of each word
        class_ids: list[int] = []  # the class of each row
        vocabulary = _as_vocabulary(vocabulary)
        for class_id, synonyms in enumerate(vocabulary.synonyms):
            for row in self._rows_of(synonyms):
                words.extend(row)
                row_ids.extend([len(class_ids)] * len(row))
                class_ids.append(class_id)
        if negative_words:
            added = _negative_words(vocabulary, negative_words)
            words.extend(added)
            row_ids.extend(range(len(class_ids), len(class_ids) + len(added)))
            class_ids.extend([vocabulary.background_ids[0]] * len(added))
        words = [self.prompt_word(word) for word in words]
        unique = tuple(dict.fromkeys(words))
        index = {word: i for i, word in enumerate(unique)}
        word_embeds = self._embed_words(unique)[[index[word] for word in words]]
        # The normalised sum is the normalised mean; one operation for up to 10,000 rows.
        sums = word_embeds.new_zeros(len(class_ids), word_embeds.shape[1])
        sums.index_add_(0, torch.tensor(row_ids), word_embeds)
        device = self.tower.device
        several = len(class_ids) > len(vocabulary)
        return ClassTexts(
            F.normalize(sums, dim=-1).to(device),
            torch.tensor(class_ids, device=device) if several else None,
            vocabulary.background_ids,
        )

    def prompt_word(self, word: str) -> str:
        """The form of a word in prompts."""
        if not self.underscores_are_spaces:
            return word
        return " ".join(word.replace("_", " ").split()) or word

    def _rows_of(self, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The words of each row of one class."""
        if self.synonyms == "joined":
            return [(", ".join(words),)]
        if self.synonyms == "max":
            return [(word,) for word in words]
        return [words]

    def _embed_words(self, words: tuple[str, ...]) -> Tensor:
        """(len(words), D) on the CPU, from memory, then disk, then the tower."""
        fingerprint = self._fingerprint.current()
        cached = {word: self._memory.get((fingerprint, word)) for word in words}
        embeds = {word: embed for word, embed in cached.items() if embed is not None}
        if len(embeds) < len(words):
            path = self._cache_path(fingerprint, words)
            on_disk = None if path is None else _read_cache(path, words, self.tower.embed_dim)
            if on_disk is not None:
                embeds = dict(zip(words, on_disk, strict=True))
            else:
                missing = [word for word in words if word not in embeds]
                embeds.update(zip(missing, self._encode(missing), strict=True))
                if path is not None:
                    _write_cache(path, words, torch.stack([embeds[word] for word in words]))
        for word in words:
            # A copy, so that one word does not keep the memory of its whole batch alive.
            self._memory[fingerprint, word] = self._memory.pop(
                (fingerprint, word), embeds[word].clone()
            )
        while len(self._memory) > _MAX_WORDS:
            self._memory.popitem(last=False)
        return torch.stack([embeds[word] for word in words])

    def _encode(self, words: Sequence[str]) -> Tensor:
        """Encode words through their templates: (len(words), D) float32 on the CPU."""
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, word in enumerate(words):
            groups.setdefault(self.word_templates.get(word, self.templates), []).append(place)
        parts = [
            self._encode_with([words[place] for place in places], templates)
            for templates, places in groups.items()
        ]
        order = torch.tensor([place for places in groups.values() for place in places])
        return torch.cat(parts)[order.argsort()]

    def _encode_with(self, words: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Encode words through the same templates: (len(words), D) float32 on the CPU."""
        num_templates = len(templates)
        words_at_once = max(1, self.batch_size // num_templates)
        num_prompts = len(words) * num_templates
        rows = []
        with (
            # An outer autocast would cache vectors of low precision.
            torch.autocast(self.tower.device.type, enabled=False),
            tqdm(
                total=num_prompts,
                desc="Encoding prompts",
                unit="prompt",
                disable=num_prompts <= _PROGRESS_PROMPTS,
            ) as progress,
        ):
            for start in range(0, len(words), words_at_once):
                batch = words[start : start + words_at_once]
                # Not str.format: a word may contain braces.
                prompts = [t.replace("{}", word) for word in batch for t in templates]
                prompt_embeds = torch.cat(
                    [
                        self.tower.encode_text(self._tokenize(prompts[i : i + self.batch_size]))
                        for i in range(0, len(prompts), self.batch_size)
                    ]
                )
                prompt_embeds = F.normalize(prompt_embeds.float(), dim=-1)
                means = prompt_embeds.unflatten(0, (len(batch), num_templates)).mean(dim=1)
                rows.append(F.normalize(means, dim=-1).cpu())
                progress.update(len(prompts))
        return torch.cat(rows)

    def _tokenize(self, prompts: list[str]) -> Tensor:
        return self.tower.tokenize(prompts).to(self.tower.device)

    def _cache_path(self, fingerprint: str, words: Sequence[str]) -> Path | None:
        if self.cache_dir is None:
            return None
        own = {word: self.word_templates[word] for word in words if word in self.word_templates}
        content = json.dumps([fingerprint, self.templates, words, *([own] if own else [])])
        digest = hashlib.sha256(content.encode("ascii")).hexdigest()
        return self.cache_dir / f"text-{digest}.safetensors"


def _negative_words(vocabulary: Vocabulary, negative_words: Sequence[str]) -> list[str]:
    """The words that are not among those of the vocabulary."""
    if not vocabulary.background:
        raise ValueError(
            f"{len(negative_words)} negative words, such as {negative_words[0]!r}, count as "
            f"background, and none of the {len(vocabulary)} classes ({name_some(vocabulary.names)})"
            " is background; list one below [background], or leave MODEL.TEXT.NEGATIVE_WORDS ''"
        )
    known = {fold_word(word) for group in vocabulary.synonyms for word in group}
    known |= {fold_word(name) for name in vocabulary.names}
    return [word for word in negative_words if fold_word(word) not in known]


def _as_vocabulary(vocabulary: Vocabulary | Sequence[str]) -> Vocabulary:
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    # Lists may hold nouns of captions, which are not parsed.
    read = read_words if isinstance(vocabulary, Mapping) else Vocabulary.from_names
    return read(vocabulary)


def _read_cache(path: Path, words: Sequence[str], embed_dim: int) -> Tensor | None:
    """Return the stored (len(words), D) embeddings; None without a usable file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOGGER.warning("cannot read the text cache %s (%s); encoding the words again", path, error)
        return None
    try:
        word_embeds = load_safetensors(data)["word_embeds"]
    except (SafetensorError, KeyError, ValueError) as error:
        _LOGGER.warning("the text cache %s is damaged (%s); encoding the words again", path, error)
        return None
    expected = (len(words), embed_dim)
    norms = word_embeds.float().norm(dim=-1)
    if tuple(word_embeds.shape) != expected or not torch.allclose(
        norms, torch.ones_like(norms), atol=1e-3
    ):
        _LOGGER.warning(
            "the text cache %s does not hold %s unit vectors; encoding the words again",
            path,
            expected,
        )
        return None
    return word_embeds


def _write_cache(path: Path, words: Sequence[str], word_embeds: Tensor) -> None:
    data = save_safetensors(
        {"word_embeds": word_embeds.contiguous()}, metadata={"words": json.dumps(words)}
    )
    try:
        with write_atomically(path) as file:
            file.write(data)
    except WriteError as error:
        # Only time is lost.
        _LOGGER.warning("%s; the text embeddings are not kept on disk", error)
