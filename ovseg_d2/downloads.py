"""Weights that other libraries download: from the cache first, and one sentence without a network.

open_clip, timm and huggingface_hub ask the network several times, for a minute, before they give
up, even for files that lie in their cache. Here the cache is looked into first, and the network is
tried once, for seconds.

The module imports nothing of ours, and every other one may import it.
"""

import os
import queue
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from .files import expand_user

__all__ = [
    "OPEN_CLIP_FILES",
    "TIMM_FILES",
    "DownloadError",
    "cached_download",
    "cached_file",
    "check_reachable",
    "downloading",
    "find_timm_weights",
    "weights_in_folder",
]

# Names of weight files in repositories of the Hugging Face hub, best first.
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_SECONDS = 4.0  # that a host is given to answer
# What a download raises; errors of the hub's client derive from those of its HTTP library.
_FAILURES: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__)


class DownloadError(OSError):
    """Weights are neither in the cache nor can they be downloaded: a sentence with the remedy."""


def cached_file(repo: str, names: Sequence[str], revision: str | None = None) -> Path | None:
    """Find a file of a repository of the Hugging Face hub in its cache, without a network.

    Args:
        repo: such as "timm/vit_small_patch16_224.dino".
        names: of files, the first of which that is there is taken.
        revision: of the repository; None: the main one.
    """
    for name in names:
        found = try_to_load_from_cache(repo, name, constants.HF_HUB_CACHE, revision)
        if isinstance(found, str):
            return Path(found)
    return None


def cached_download(url: str, folder: str | Path = "") -> Path | None:
    """Find a file that was downloaded by its URL in a cache, without a network.

    Args:
        url: where it comes from.
        folder: of the cache; "" is the one of torch.
    """
    folder = Path(folder) if folder else Path(torch.hub.get_dir()) / "checkpoints"
    path = expand_user(folder) / os.path.basename(urlsplit(url).path)
    return path if url and path.is_file() else None


def check_reachable(what: str, source: str, remedy: str) -> None:
    """Try once, for seconds, whether something that is not in the cache can be downloaded.

    Args:
        what: it is, for the error.
        source: a URL, or a repository of the Hugging Face hub.
        remedy: what to do without a network.

    Raises:
        DownloadError: ``HF_HUB_OFFLINE`` forbids it, or the host does not answer.
    """
    on_hub = "://" not in source
    if on_hub and constants.HF_HUB_OFFLINE:
        raise DownloadError(
            f"the cache {constants.HF_HUB_CACHE} lacks {what}, and HF_HUB_OFFLINE forbids to "
            f"download {source}; unset it, {remedy}"
        )
    parts = urlsplit(constants.ENDPOINT if on_hub else source)
    host = f"{parts.scheme}://{parts.netloc}"
    problem = _why_unreachable(host)
    if problem:
        raise DownloadError(
            f"no cache holds {what}, and {host} cannot be reached ({problem}); {remedy}"
        )


@contextmanager
def downloading(what: str, remedy: str) -> Iterator[None]:
    """Turn what a failed download raises into one sentence, without what led to it.

    Args:
        what: is downloaded.
        remedy: what to do without it.

    Raises:
        DownloadError: the download failed.
    """
    try:
        yield
    except DownloadError:
        raise
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DownloadError(f"{what} cannot be downloaded ({reason}); {remedy}") from None


def find_timm_weights(name: str, remedy: str) -> dict[str, Any]:
    """Where the weights that timm has for a network lie, or may be downloaded from.

    Args:
        name: of the network, with or without the tag of its weights.
        remedy: what to do without a network.

    Returns:
        ``pretrained_cfg_overlay`` of ``timm.create_model`` where they lie in a cache; nothing where
        timm is to get them.

    Raises:
        DownloadError: they are in no cache, and there is no network.
    """
    what = f"the weights of timm's {name!r}"
    kind, is_place, repo = name.partition(":")
    if is_place:
        if kind == "hf-hub" and not cached_file(repo, ("config.json",)):
            check_reachable(what, repo, remedy)
        return {}
    about = timm.get_pretrained_cfg(name)
    if about is None or about.file:
        return {}
    repo, _, revision = str(about.hf_hub_id or "").partition("@")
    url = str(about.url or "")
    names = (about.hf_hub_filename,) if about.hf_hub_filename else TIMM_FILES
    found = cached_file(repo, names, revision or None) if repo else None
    overlay: dict[str, Any] = {"file": str(found), "custom_load": False, "source": ""}
    if found is None and not about.custom_load:
        found = cached_download(url)
        overlay["file"] = str(found)
    if found is not None:
        return {"pretrained_cfg_overlay": overlay}
    if repo or url:
        check_reachable(what, repo or url, remedy)
    return {}


def weights_in_folder(folder: str | Path, names: Sequence[str]) -> Path:
    """Find the weight file of a folder, be it a snapshot of the hub or an entry of its cache.

    Args:
        folder: with the file in it; or ``models--<owner>--<name>`` of the hub's cache.
        names: of files to look for, best first; without them a single weight file is taken.

    Raises:
        ValueError: none of them, and not one single weight file.
    """
    folder = Path(folder)
    main = folder / "refs" / "main"
    if main.is_file():
        folder = folder / "snapshots" / main.read_text(encoding="utf-8").strip()
    found = sorted(path for path in folder.glob("*") if path.suffix in _SUFFIXES)
    for name in names:
        if folder / name in found:
            return folder / name
    if len(found) != 1:
        held = ", ".join(path.name for path in found[:5]) or "no weight file"
        raise ValueError(
            f"the folder {str(folder)!r} holds {held}, and none is called {' or '.join(names)}; "
            "name the weight file itself"
        )
    return found[0]


def _why_unreachable(host: str) -> str:
    """Why a host does not answer, "" where it does, whatever its answer."""
    answers: queue.Queue[str] = queue.Queue()

    def ask() -> None:
        request = urllib.request.Request(host, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):
                answers.put("")
        except urllib.error.HTTPError:
            answers.put("")
        except OSError as error:
            reason = getattr(error, "reason", error)
            # A certificate is an answer, and the libraries bring certificates of their own.
            answers.put("" if isinstance(reason, ssl.SSLError) else str(reason))

    # In a thread that is left behind: looking up a name takes no timeout.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS)
    except queue.Empty:
        return f"no answer in {_SECONDS:.0f} s"
