"""What PixelCLIP has beside its CLIP, as a head of detectron2: clusters and decoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..clip import CLIPTower
from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec
from ..d2.modeling import SEM_SEG_HEADS_REGISTRY
from ..nets import PixelCLIPDecoder
from ..text import ClassPrompts, ClusterVectors, TextBank
from ..vocab import Vocabulary, read_words
from .build import named_or_listed

__all__ = ["FEATURES", "OVSegPixelCLIPClusterHead", "build_cluster_head"]

# What the head reads, by the name that `OVSegCLIPBackbone` has for it.
FEATURES = "clip_dense"


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegPixelCLIPClusterHead(nn.Module):
    """Clusters of masks and the decoder of their similarity maps; training alone needs them.

    Departs from detectron2's heads: the parts are taken over by the system, which computes with
    them, and building them takes the tower beside config and shapes, for prompts begin as its
    tokens. A head of one's own is a subclass with these two attributes.

    Attributes:
        clusters: gives cluster embeddings (P, D) of a tower; None trains without clustering.
        decoder: from similarity maps to masks.
    """

    @configurable
    def __init__(
        self, *, clusters: ClassPrompts | ClusterVectors | None, decoder: PixelCLIPDecoder
    ) -> None:
        """Keep the parts."""
        super().__init__()
        self.clusters = clusters
        self.decoder = decoder

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], *, tower: CLIPTower
    ) -> dict[str, Any]:
        """Read ``MODEL.PIXELCLIP``.

        Args:
            cfg: the config.
            input_shape: of the dense features, called ``clip_dense``.
            tower: whose text half reads prompts and names.

        Raises:
            ValueError: an what the parts refuse.
        """
        return {
            "clusters": _build_clusters(cfg, input_shape[FEATURES].channels, tower),
            "decoder": PixelCLIPDecoder(channels=tuple(cfg.MODEL.PIXELCLIP.DECODER_CHANNELS)),
        }


def build_cluster_head(cfg: CfgNode, tower: CLIPTower) -> OVSegPixelCLIPClusterHead:
    """The head that ``MODEL.SEM_SEG_HEAD.NAME`` names, on a tower.

    Raises:
        ValueError: a name that is not registered, or of another kind of head.
    """
    name = cfg.MODEL.SEM_SEG_HEAD.NAME
    kind = SEM_SEG_HEADS_REGISTRY.get(name) if name in SEM_SEG_HEADS_REGISTRY else None
    if not (isinstance(kind, type) and issubclass(kind, OVSegPixelCLIPClusterHead)):
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NAME {name!r} is no head of PixelCLIP; set it to "
            f"{OVSegPixelCLIPClusterHead.__name__}, or register a subclass of it"
        )
    shape = ShapeSpec(channels=tower.embed_dim, stride=tower.patch_size[0])
    return kind(cfg, {FEATURES: shape}, tower=tower)


def _build_clusters(
    cfg: CfgNode, width: int, tower: CLIPTower
) -> ClassPrompts | ClusterVectors | None:
    options = cfg.MODEL.PIXELCLIP
    if options.CLUSTERING == "none":
        return None
    if options.CLUSTERING == "vectors":
        drawn = F.normalize(torch.randn(options.CLUSTERS, width), dim=1)
        return ClusterVectors(drawn, learnable=options.LEARNABLE)
    templates = named_or_listed(options.TEMPLATES)
    if options.CLUSTERING == "names":
        text_bank = TextBank(tower, templates, batch_size=cfg.MODEL.TEXT.BATCH_SIZE)
        return ClusterVectors(text_bank.embed(_read_names(options.CLASS_NAMES)), learnable=False)
    return ClassPrompts(
        tower,
        num_clusters=options.CLUSTERS,
        length=options.PROMPT_LENGTH,
        templates=templates,
        words=list(options.PROMPT_WORDS) or None,
        learnable=options.LEARNABLE,
    )


def _read_names(names: Sequence[str]) -> Vocabulary:
    if not names:
        raise ValueError(
            "MODEL.PIXELCLIP.CLASS_NAMES is empty, and CLUSTERING 'names' needs names; give some, "
            "or one word list, such as ['coco_stuff171']"
        )
    return read_words(names, "MODEL.PIXELCLIP.CLASS_NAMES")
