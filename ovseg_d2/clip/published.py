"""Weights and tokenizers that open_clip downloads: from the cache first, else checked downloads."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import constants
from open_clip.tokenizer import HFTokenizer

from ..downloads import (
    OPEN_CLIP_FILES,
    cached_download,
    cached_file,
    check_reachable,
    downloading,
)

__all__ = [
    "build_hf_tokenizer",
    "cached_published",
    "find_hf_files",
    "find_published",
    "require_transformers",
]

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


def build_hf_tokenizer(name: str, **options: Any) -> HFTokenizer:
    """Build a tokenizer of transformers, as open_clip wraps it.

    Args:
        name: a repository of the Hugging Face hub or a folder.
        options: of open_clip's `HFTokenizer`.

    Raises:
        DownloadError: the tokenizer is not cached and cannot be downloaded.
        ValueError: transformers is not installed, or reads no tokenizer there.
    """
    require_transformers(f"the tokenizer {name!r}")
    folder = find_hf_files(name, "the tokenizer", _TOKENIZER_FILES, "hf_tokenizer_name")
    try:
        return HFTokenizer(folder, **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"transformers reads no tokenizer from {folder!r} ({reason}); give a folder with "
            "tokenizer.json (hf_tokenizer_name of the model's config)"
        ) from error


def require_transformers(what: str) -> None:
    """Refuse parts of a text half that need transformers, if it is not installed.

    Raises:
        ValueError: it is not.
    """
    if find_spec("transformers") is None:
        raise ValueError(
            f"{what} needs the package transformers, which is not installed; run "
            "`pip install ovseg_d2[hf]`, or choose a model with CLIP's own tokenizer, such as "
            "ViT-B-16"
        )


def find_hf_files(name: str, what: str, files: Sequence[str], key: str) -> str:
    """Return the folder of files in the Hugging Face cache, or their name for a download.

    Args:
        name: a repository or a folder.
        what: the files are, for the error.
        files: names of which a cached repository has one.
        key: of the model's config that gives the name, for the error.

    Raises:
        DownloadError: they are not cached and cannot be downloaded.
    """
    if os.path.isdir(name):
        return name
    path = cached_file(name, files)
    if path is not None:
        return str(path.parent)
    remedy = (
        f"give a folder with it ({key} of the model's config), or copy the cache of a machine that "
        f"has it to {constants.HF_HOME}, which HF_HOME moves"
    )
    check_reachable(f"{what} {name!r}", name, remedy)
    return name
