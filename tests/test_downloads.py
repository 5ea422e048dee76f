"""Weights of other libraries: from a cache, from a folder, and one sentence without a network."""

import http.client
import io
import json
import logging
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from ovseg_d2 import downloads
from ovseg_d2.clip import load_clip
from ovseg_d2.clip.published import find_hf_files
from ovseg_d2.downloads import DownloadError, check_reachable, downloading, weights_in_folder
from ovseg_d2.engine.cli import sentence_for_bad_input
from ovseg_d2.masks import DinoClusters
from ovseg_d2.nets import build_swin_features, build_timm_features
from ovseg_d2.segmenter import Segmenter

GREY = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache of the Hugging Face hub, of torch, and of open_clip's URLs."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every connection and look-up; returns the hosts that were asked for."""
    asked = []

    def refuse(host, *_, **__):
        asked.append(host[0] if isinstance(host, tuple) else host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return asked


def put_in_cache(cache, repo, files):
    """Lay files into the hub's cache as a download leaves them; returns the repository's folder."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0a1b2c")
    for name, write in files.items():
        write(snapshot / name)
    return folder


@pytest.fixture
def tiny_clip(monkeypatch, tiny_clip_config):
    """A model name of open_clip whose tag lies on the hub, and a function that writes weights."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny_clip_config)
    tag = {"hf_hub": "owner/tiny/", "url": "https://host/models/tiny.pt", "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"published": {**tag, **GREY}})
    model = open_clip.CLIP(**tiny_clip_config)
    return model, lambda path: save_file(model.state_dict(), path)


PARTS = {
    "a tag of open_clip": lambda: load_clip("ViT-B-16", "openai"),
    "a tokenizer": lambda: find_hf_files("owner/words", "the tokenizer", ("a.json",), "a key"),
    "weights of timm": lambda: build_timm_features("resnet10t", pretrained=True),
    "a network of the hub": lambda: build_timm_features("hf-hub:timm/none", pretrained=True),
    "a Swin of timm": lambda: build_swin_features("swin_tiny_patch4_window7_224", pretrained=True),
    "DINO": DinoClusters.load,
    "the Segmenter": lambda: Segmenter(
        opts=["MODEL.CLIP.NAME", "ViT-B-16", "MODEL.CLIP.PRETRAINED", "openai"]
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_no_network_is_one_sentence_at_once(part, no_network, capfd):
    start = time.monotonic()
    with pytest.raises(SystemExit) as end, sentence_for_bad_input():
        PARTS[part]()
    assert time.monotonic() - start < 5
    sentence = str(end.value.code)
    assert sentence.startswith("error: no cache holds ") and "\n" not in sentence
    for words in ("https://huggingface.co cannot be reached", "folder", "HF_HOME"):
        assert words in sentence
    assert no_network == ["huggingface.co"]
    assert capfd.readouterr() == ("", "")


def test_silent_host_times_out(monkeypatch):
    monkeypatch.setattr(downloads, "_SECONDS", 0.2)
    over = threading.Event()

    def hang(*_, **__):
        over.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(urllib.request, "urlopen", hang)
    start = time.monotonic()
    with pytest.raises(DownloadError, match="https://host cannot be reached .no answer"):
        check_reachable("a file", "https://host/file.pt", "give it")
    assert time.monotonic() - start < 3
    over.set()


def test_check_reachable_accepts_errors_of_the_host(monkeypatch):
    refused = urllib.error.HTTPError("u", 405, "no", http.client.HTTPMessage(), io.BytesIO())
    certificate = urllib.error.URLError(ssl.SSLCertVerificationError("unknown issuer"))
    for answer in (refused, certificate):

        def open_url(*_, answer=answer, **__):
            raise answer

        monkeypatch.setattr(urllib.request, "urlopen", open_url)
        check_reachable("a file", "owner/name", "give it")


def test_offline_switch_of_the_hub_is_named(monkeypatch, no_network):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids to download timm/vit_base"):
        load_clip("ViT-B-16", "openai")
    assert no_network == []


def test_failed_download_is_one_sentence():
    with (
        pytest.raises(DownloadError, match=r"^x cannot be downloaded \(cut off\); do y$") as end,
        downloading("x", "do y"),
    ):
        raise ConnectionResetError("cut\noff")
    assert end.value.__cause__ is None and end.value.__suppress_context__


def test_cached_weights_need_no_network(tiny_clip, cache, no_network, tmp_path):
    model, write = tiny_clip
    put_in_cache(cache, "owner/tiny", {"open_clip_model.safetensors": write})
    tower = load_clip("tiny", "published")
    assert torch.equal(tower.model.logit_scale, model.logit_scale) and tower.mean == (0.5,) * 3
    shutil.rmtree(cache)
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    torch.save(model.state_dict(), tmp_path / ".cache" / "clip" / "tiny.pt")
    tower = load_clip("tiny", "published")
    assert torch.equal(tower.model.visual.proj, model.visual.proj)
    assert no_network == []


@pytest.mark.parametrize("form", ["snapshot", "cache entry"])
def test_clip_folder_is_read_with_its_config(tiny_clip, cache, no_network, form):
    model, write = tiny_clip
    about = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": GREY}
    folder = put_in_cache(
        cache,
        "owner/tiny",
        {
            "open_clip_model.safetensors": write,
            "open_clip_config.json": lambda path: path.write_text(json.dumps(about)),
            # The same repository holds timm's image tower alone.
            "model.safetensors": lambda path: path.write_bytes(b"another format"),
        },
    )
    folder = folder / "snapshots" / "0a1b2c" if form == "snapshot" else folder
    for pretrained in (folder, str(folder)):
        tower = load_clip("tiny", pretrained)
        assert torch.equal(tower.model.visual.proj, model.visual.proj)
        assert type(tower.model.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
        assert tower.std == (0.25,) * 3
    (folder / "open_clip_config.json").write_text("[]")
    if form == "snapshot":
        with pytest.raises(ValueError, match="open_clip_config.json is not a config of open_clip"):
            load_clip("tiny", folder)


def test_weights_in_folder_needs_one_file(tiny_clip, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"weights' holds no weight file, and none is called open"):
        load_clip("tiny", str(folder))
    tiny_clip[1](folder / "my.safetensors")
    assert weights_in_folder(folder, ("model.safetensors",)).name == "my.safetensors"
    assert load_clip("tiny", str(folder)).embed_dim == 32
    (folder / "other.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="holds my.safetensors, other.pt, and none is called"):
        load_clip("tiny", str(folder))


def test_timm_weights_from_cache_or_folder(cache, no_network, tmp_path, monkeypatch):
    whole = timm.create_model("test_resnet")
    first = next(iter(whole.parameters()))
    repo = timm.get_pretrained_cfg("test_resnet").hf_hub_id
    files = {"model.safetensors": lambda path: save_file(whole.state_dict(), path)}
    folder = put_in_cache(cache, repo, files)
    for pretrained in (True, str(folder), folder / "snapshots" / "0a1b2c"):
        built = build_timm_features("test_resnet", pretrained=pretrained)
        assert torch.equal(next(iter(built.parameters())), first)
    assert no_network == []


def test_dino_weights_from_cache_or_folder(cache, no_network, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("ovseg_d2"), "propagate", True)
    model = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    repo = timm.get_pretrained_cfg("test_vit").hf_hub_id
    files = {"model.safetensors": lambda path: save_file(model.state_dict(), path)}
    folder = put_in_cache(cache, repo, files)
    image = np.random.default_rng(0).integers(0, 256, (160, 128, 3), dtype=np.uint8)
    masks = DinoClusters(model, num_clusters=4)(image)
    for weights in ("", str(folder)):
        loaded = DinoClusters.load(model="test_vit", weights=weights, num_clusters=4)
        assert np.array_equal(loaded(image), masks)
    assert no_network == [] and caplog.text == ""
    DinoClusters.load(model="test_vit", weights="random")
    assert "DINO has random weights" in caplog.text


def test_cached_tokenizer_is_read_from_its_folder(cache, no_network, tmp_path):
    words = {"tokenizer_config.json": lambda path: path.write_text("{}")}
    folder = put_in_cache(cache, "owner/words", words)
    names = ("tokenizer.json", "tokenizer_config.json")
    found = find_hf_files("owner/words", "the tokenizer", names, "hf_tokenizer_name")
    assert found == str(folder / "snapshots" / "0a1b2c")
    assert find_hf_files(str(tmp_path), "the tokenizer", names, "key") == str(tmp_path)
    assert no_network == []
