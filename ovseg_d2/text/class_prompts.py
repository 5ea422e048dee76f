"""Clusters as vectors of the joint space, with or without the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.text.templates import get_templates

if TYPE_CHECKING:
    from ovseg_d2.clip import CLIPTower

__all__ = ["ClassPrompts", "ClusterVectors"]

# Words that are one token in most vocabularies.
_PLACEHOLDERS = ("x", "a", "the", "one", "photo", "object")


class ClassPrompts(nn.Module):
    """P classes with learnt names of l token embeddings in a template.

    Paper: [pixelclip] Sec. 3.3: C (k, l, d_e) in a fixed template P* through the frozen text
    encoder, f_C = E_L(P*, C).
    Departs: the unit vectors of several templates are averaged, as `TextBank` does for words; the
    release's loop embeds the same template every time.

    The state is ``token_embeds`` alone: `forward` takes the text tower, which the caller freezes.

    Args:
        tower: tokenizes the templates; its token embeddings are the initial names.
        num_clusters: P.
        length: l, tokens a class.
        templates: a name of `TEMPLATE_SETS` or a list; "bare" is the name alone.
        words: the initial names are drawn from the tokens of these words; None draws from the
            tower's whole vocabulary, as the release does.
        learnable: False keeps the random names.
        generator: of the random names, on the CPU; None takes the global one.

    Raises:
        ValueError: fewer than 1 cluster or token, words without any token, prompts longer than the
            tower's context, or a template whose tokens mix with those of the name.
    """

    token_ids: Tensor  # (T, L)
    places: Tensor  # (T, l)

    def __init__(
        self,
        tower: CLIPTower,
        *,
        num_clusters: int = 64,
        length: int = 4,
        templates: str | Sequence[str] = "pixelclip_single",
        words: Sequence[str] | None = None,
        learnable: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """Find the name's positions in each template and draw the initial names."""
        super().__init__()
        if num_clusters < 1 or length < 1:
            raise ValueError(
                f"num_clusters is {num_clusters} and length {length}; both must be at least 1"
            )
        self.templates = get_templates(templates)
        parsed = [_places_in(tower, template, length) for template in self.templates]
        for name, values in zip(("token_ids", "places"), zip(*parsed, strict=True), strict=True):
            self.register_buffer(name, torch.stack(values).to(tower.device), persistent=False)
        ids = _vocabulary_ids(tower) if words is None else _word_ids(tower, words)
        drawn = ids[torch.randint(len(ids), (num_clusters, length), generator=generator)]
        with torch.no_grad():
            embeds = tower.embed_tokens(drawn.to(tower.device)).float()
        self.token_embeds = nn.Parameter(embeds.clone(), requires_grad=learnable)

    @property
    def num_clusters(self) -> int:
        """P."""
        return len(self.token_embeds)

    def forward(self, tower: CLIPTower, *, unit_norm: bool = True) -> Tensor:
        """Encode the classes.

        Args:
            tower: the tower of construction.
            unit_norm: False keeps the length of the tower's vectors; several templates are averaged
                as unit vectors in both cases.

        Returns:
            (P, D) float; gradients reach the names.
        """
        embeds = [
            self._encode(tower, token_ids, places, unit_norm or len(self.templates) > 1)
            for token_ids, places in zip(self.token_ids, self.places, strict=True)
        ]
        if len(embeds) == 1:
            return embeds[0]
        mean = torch.stack(embeds).mean(dim=0)
        return F.normalize(mean, dim=-1) if unit_norm else mean

    def _encode(self, tower: CLIPTower, token_ids: Tensor, places: Tensor, unit: bool) -> Tensor:
        """(P, D) of one template (L,) with names at places (l,)."""
        all_ids = token_ids.expand(self.num_clusters, -1)
        sentence = tower.embed_tokens(token_ids[None]).expand(self.num_clusters, -1, -1)
        names = self.token_embeds.to(sentence.dtype)
        embeds = sentence.index_copy(1, places, names)
        return tower.encode_token_embeds(embeds, all_ids, unit_norm=unit)


class ClusterVectors(nn.Module):
    """Clusters that are vectors, learnable or fixed.

    Learnable vectors are the ablation of [pixelclip] without the text encoder; fixed embeddings of
    class names from a `TextBank` are the one with fixed names.

    Args:
        vectors: (P, D) floating, the initial values.
        learnable: whether they are a parameter or a buffer.

    Raises:
        ValueError: vectors of another shape.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, *, learnable: bool) -> None:
        """Copy the vectors."""
        super().__init__()
        if vectors.dim() != 2 or len(vectors) == 0:
            raise ValueError(f"vectors have shape {tuple(vectors.shape)}; give (P, D)")
        vectors = vectors.detach().clone()
        if learnable:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)

    @property
    def num_clusters(self) -> int:
        """P."""
        return len(self.vectors)

    def forward(self, tower: CLIPTower) -> Tensor:
        """Return the vectors, (P, D) float of unit norm; ``tower`` is ignored."""
        return F.normalize(self.vectors, dim=-1)


def _places_in(tower: CLIPTower, template: str, length: int) -> tuple[Tensor, Tensor]:
    """Tokens (L,) of a template with a name of ``length`` tokens, and the name's positions (l,).

    Two sentences that differ in one word, repeated l times, differ in its tokens alone. This works
    for any tokenizer that has two words of one token.
    """
    problem = None
    for words in combinations(_PLACEHOLDERS, 2):
        try:
            rows = [_repeat(tower, template, word, length) for word in words]
            pairs = [_repeat(tower, "{}", word, 2) for word in words]
        except ValueError as error:  # too long for the context
            problem = error
            continue
        places = (rows[0] != rows[1]).nonzero()[:, 0]
        names = [pair[pairs[0] != pairs[1]] for pair in pairs]
        # A word of one token, repeated, is that token twice, here and in the template.
        if len(places) == length and all(
            name.tolist() == name[:1].tolist() * 2 and bool((row[places] == name[0]).all())
            for name, row in zip(names, rows, strict=True)
        ):
            return rows[0], places
    raise ValueError(
        f"in the template {template!r} a name of {length} tokens cannot be told from the rest; put "
        "spaces around the {}, or shorten the template or the name"
    ) from problem


def _repeat(tower: CLIPTower, template: str, word: str, length: int) -> Tensor:
    return tower.tokenize([template.replace("{}", " ".join([word] * length))])[0]


def _word_ids(tower: CLIPTower, words: Sequence[str]) -> Tensor:
    """Ids of the words' tokens, without start and end."""
    ids = tower.tokenize(list(words)).unique()
    ids = ids[~torch.isin(ids, tower.tokenize([""]))]
    if len(ids) == 0:
        raise ValueError(f"words are {list(words)!r} and have no token; give words, or None")
    return ids


def _vocabulary_ids(tower: CLIPTower) -> Tensor:
    """Ids of the whole vocabulary, without start and end."""
    # Imported at use: open_clip takes seconds to import.
    from ovseg_d2.clip import token_table

    ids = torch.arange(len(token_table(tower)))
    return ids[~torch.isin(ids, tower.tokenize([""]))]
