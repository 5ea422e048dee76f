"""Weights and tokenizers that open_clip downloads: from the cache first, else checked downloads."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import constants

from ..downloads import (
    OPEN_CLIP_FILES,
    cached_download,
    cached_file,
    check_reachable,
    downloading,
)

__all__ = ["cached_published", "find_published", "find_tokenizer"]

# Where open_clip and OpenAI's code keep files downloaded by URL.
_URL_CACHE = "~/.cache/clip"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model")


def cached_published(cfg: Mapping[str, Any]) -> Path | None:
    """Find the weights of a tag in a cache, without a network.

    Args:
        cfg: from ``open_clip.get_pretrained_cfg``.
    """
    if "file" in cfg:
        return Path(cfg["file"])
    repo, name = os.path.split(cfg.get("hf_hub") or "")
    safe = Path(name).with_suffix(".safetensors").name if name else ""
    names = (safe, name) if name else OPEN_CLIP_FILES
    path = cached_file(repo, names) if repo else None
    return path or cached_download(cfg.get("url") or "", _URL_CACHE)


def find_published(what: str, cfg: Mapping[str, Any]) -> Path:
    """Find the weights of a tag in a cache, or download them.

    Args:
        what: name of the weights, for the error.
        cfg: from ``open_clip.get_pretrained_cfg``.

    Raises:
        DownloadError: they are not cached and cannot be downloaded.
    """
    path = cached_published(cfg)
    if path is not None:
        return path
    repo, url = os.path.split(cfg.get("hf_hub") or "")[0], cfg.get("url") or ""
    what = f"the CLIP {what} ({repo or url})"
    remedy = (
        "give its file or folder instead of the tag (MODEL.CLIP.PRETRAINED), or copy the cache of "
        f"a machine that has it to {constants.HF_HOME}, which HF_HOME moves"
    )
    check_reachable(what, repo or url, remedy)
    with downloading(what, remedy):
        return Path(open_clip.download_pretrained(dict(cfg)))


def find_tokenizer(name: str) -> str:
    """Return the folder of a tokenizer in the Hugging Face cache, or its name for a download.

    Args:
        name: a repository or a folder.

    Raises:
        DownloadError: it is not cached and cannot be downloaded.
    """
    if os.path.isdir(name):
        return name
    path = cached_file(name, _TOKENIZER_FILES)
    if path is not None:
        return str(path.parent)
    remedy = (
        "give a folder with it (hf_tokenizer_name of the model's config), or copy the cache of a "
        f"machine that has it to {constants.HF_HOME}, which HF_HOME moves"
    )
    check_reachable(f"the tokenizer {name!r}", name, remedy)
    return name
