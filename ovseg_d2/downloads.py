"""Weights that other libraries download: from the cache first, with one sentence if offline.

open_clip, timm and huggingface_hub try the network several times, for a minute, even for files in
their cache. This module reads the cache first, and tries the network once, for seconds.

It imports nothing of this package but `files`, and every other module may import it.
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
_SECONDS = 4.0  # timeout of a host
# Errors of downloads; those of the hub's client derive from those of its HTTP library.
_FAILURES: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__)


class DownloadError(OSError):
    """Weights are not in the cache and cannot be downloaded: a sentence with the remedy."""


def cached_file(repo: str, names: Sequence[str], revision: str | None = None) -> Path | None:
    """Find a file of a Hugging Face hub repository in the hub's cache, without a network.

    Args:
        repo: such as "timm/vit_small_patch16_224.dino".
        names: of files; the first that exists is taken.
        revision: of the repository; None takes the main one.
    """
    for name in names:
        path = try_to_load_from_cache(repo, name, constants.HF_HUB_CACHE, revision)
        if isinstance(path, str):
            return Path(path)
    return None


def cached_download(url: str, folder: str | Path = "") -> Path | None:
    """Find a file downloaded from a URL in a cache, without a network.

    Args:
        url: of the file.
        folder: of the cache; "" takes torch's.
    """
    folder = Path(folder) if folder else Path(torch.hub.get_dir()) / "checkpoints"
    path = expand_user(folder) / os.path.basename(urlsplit(url).path)
    return path if url and path.is_file() else None


def check_reachable(what: str, source: str, remedy: str) -> None:
    """Test once, for seconds, whether a file that is not in the cache can be downloaded.

    Args:
        what: name of the file in the error.
        source: a URL, or a repository of the Hugging Face hub.
        remedy: the way without a network, for the error.

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
    """Turn the errors of a failed download into one sentence, without their context.

    Args:
        what: name of the file in the error.
        remedy: the way without it, for the error.

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
    """Find timm's weights for a network in the caches.

    Args:
        name: of the network, with or without the tag of its weights.
        remedy: the way without a network, for the error.

    Returns:
        ``pretrained_cfg_overlay`` of ``timm.create_model`` if a cache has them; {} if timm has to
        download them.

    Raises:
        DownloadError: no cache has them, and there is no network.
    """
    what = f"the weights of timm's {name!r}"
    kind, colon, repo = name.partition(":")
    if colon:
        if kind == "hf-hub" and not cached_file(repo, ("config.json",)):
            check_reachable(what, repo, remedy)
        return {}
    about = timm.get_pretrained_cfg(name)
    if about is None or about.file:
        return {}
    repo, _, revision = str(about.hf_hub_id or "").partition("@")
    url = str(about.url or "")
    names = (about.hf_hub_filename,) if about.hf_hub_filename else TIMM_FILES
    file = cached_file(repo, names, revision or None) if repo else None
    if file is None and not about.custom_load:
        file = cached_download(url)
    if file is not None:
        overlay = {"file": str(file), "custom_load": False, "source": ""}
        return {"pretrained_cfg_overlay": overlay}
    if repo or url:
        check_reachable(what, repo or url, remedy)
    return {}


def weights_in_folder(folder: str | Path, names: Sequence[str]) -> Path:
    """Find the weight file in a folder.

    Args:
        folder: with the file in it, or ``models--<owner>--<name>`` of the hub's cache.
        names: of files, best first; if none exists, a single weight file is taken.

    Raises:
        ValueError: none of the names, and not one single weight file.
    """
    folder = Path(folder)
    main = folder / "refs" / "main"
    if main.is_file():
        folder = folder / "snapshots" / main.read_text(encoding="utf-8").strip()
    files = sorted(path for path in folder.glob("*") if path.suffix in _SUFFIXES)
    for name in names:
        if folder / name in files:
            return folder / name
    if len(files) != 1:
        held = ", ".join(path.name for path in files[:5]) or "no weight file"
        raise ValueError(
            f"the folder {str(folder)!r} holds {held}, and none is called {' or '.join(names)}; "
            "name the weight file itself"
        )
    return files[0]


def _why_unreachable(host: str) -> str:
    """Why a host does not answer; "" if it answers, be it with an error."""
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
            # A certificate is an answer, and the libraries bring their own certificates.
            answers.put("" if isinstance(reason, ssl.SSLError) else str(reason))

    # In a thread that is abandoned after the timeout: a name look-up has no timeout.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS)
    except queue.Empty:
        return f"no answer in {_SECONDS:.0f} s"
