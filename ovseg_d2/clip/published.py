"""Weights and tokenizers that open_clip downloads, from the cache or with one sentence."""

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

__all__ = ["find_published", "find_tokenizer"]

# Where open_clip and OpenAI's own code keep what they download by its URL.
_URL_CACHE = "~/.cache/clip"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model")


def find_published(what: str, cfg: Mapping[str, Any]) -> Path:
    """Find the weights of a tag in a cache, or download them.

    Args:
        what: they are, for the error.
        cfg: of ``open_clip.get_pretrained_cfg``.

    Raises:
        DownloadError: they are in no cache and cannot be downloaded.
    """
    if "file" in cfg:
        return Path(cfg["file"])
    repo, name = os.path.split(cfg.get("hf_hub") or "")
    safe = Path(name).with_suffix(".safetensors").name if name else ""
    names = (safe, name) if name else OPEN_CLIP_FILES
    url = cfg.get("url") or ""
    found = cached_file(repo, names) if repo else None
    found = found or cached_download(url, _URL_CACHE)
    if found is not None:
        return found
    what = f"the CLIP {what} ({repo or url})"
    remedy = (
        "give its file or folder instead of the tag (MODEL.CLIP.PRETRAINED), or copy the cache of "
        f"a machine that has it to {constants.HF_HOME}, which HF_HOME moves"
    )
    check_reachable(what, repo or url, remedy)
    with downloading(what, remedy):
        return Path(open_clip.download_pretrained(dict(cfg)))


def find_tokenizer(name: str) -> str:
    """The folder of a tokenizer in the cache of the Hugging Face hub, or its name to download.

    Args:
        name: of a repository, or a folder.

    Raises:
        DownloadError: it is not in the cache and cannot be downloaded.
    """
    if os.path.isdir(name):
        return name
    found = cached_file(name, _TOKENIZER_FILES)
    if found is not None:
        return str(found.parent)
    remedy = (
        "give a folder with it (hf_tokenizer_name of the model's config), or copy the cache of a "
        f"machine that has it to {constants.HF_HOME}, which HF_HOME moves"
    )
    check_reachable(f"the tokenizer {name!r}", name, remedy)
    return name
