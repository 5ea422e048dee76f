"""Loading of a tower from a model name or config, and weights in many formats."""

import copy
import dataclasses
import difflib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from timm.models import is_model_in_modules
from torch import nn

from ..downloads import OPEN_CLIP_FILES, TIMM_FILES, weights_in_folder
from .layouts import CLIPFile, read_clip
from .published import (
    build_hf_tokenizer,
    find_hf_files,
    find_published,
    require_transformers,
)
from .tower import CLIPTower
from .training import Chosen, set_quick_gelu, tag_training
from .weights import half_alone, load_file

_PACKAGED = "ShapesCLIP"
# Of timm, with supported networks; `image_tower_kind` tells which once they are built.
_TIMM_VITS = ("eva", "vision_transformer", "vision_transformer_hybrid", "vitamin")
_TIMM_CONVOLUTIONS = ("convnext", "fastvit")
_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def load_clip(
    model: str,
    pretrained: str | Path | None = None,
    *,
    image_weights: str | Path | None = None,
    quick_gelu: bool | Literal["text"] | None = None,
    patch_dropout: float | None = None,
    layer_norm_eps: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str | torch.device = "cpu",
) -> CLIPTower:
    """Load a CLIP tower, in evaluation mode.

    Args:
        model: a model name of open_clip, such as "ViT-B-16" or "ViT-B/16"; or the path of a model
            config in open_clip's JSON format, with or without its wrapper
            `{"model_cfg": ..., "preprocess_cfg": {"mean": ..., "std": ...}}`; or "ShapesCLIP",
            the small model of this package.
        pretrained: a tag of open_clip, such as "openai" (from open_clip's cache, or downloaded);
            or a weight file, see `read_clip`; or a folder with one, such as a snapshot of the
            Hugging Face hub; or "random". None is the packaged weights of "ShapesCLIP", and an
            error for other models.
        image_weights: a weight file whose image half replaces that of ``pretrained``, such as an
            image half alone. None keeps it.
        quick_gelu: the activation x * sigmoid(1.702 x) instead of GELU. None takes that of the
            weights' training if known, by the tag, by the file's layout or by a config beside it,
            else that of the model's config. "text" uses it in the text tower only, as the release
            of [maskclip] does.
        patch_dropout: share in [0, 1) of the patches that training drops from each image
            ([flip] 2212.00794); dense features keep all. None takes the config's. ViTs only.
        layer_norm_eps: epsilon of the image tower's norms; None takes the config's. Other values
            for ViTs only.
        mean: of RGB in [0, 1]; None takes that of the weights' training.
        std: standard deviation of RGB, see ``mean``.
        device: of the tower.

    Returns:
        The tower in float32, for files of any dtype.

    Raises:
        FileNotFoundError: a config or weight file does not exist.
        DownloadError: the weights of a tag, or the text half's tokenizer, are not cached and cannot
            be downloaded.
        ValueError: an unknown name or tag, no weights, an unsupported kind of tower, weights of
            another architecture, or a text half that needs transformers, which is not installed.
    """
    if model.replace("/", "-") in open_clip.list_models():  # OpenAI's spelling: "ViT-B/16"
        model = model.replace("/", "-")
    config, preprocess = _read_config(model)
    _refuse_unsupported(config)
    tokenizer = _build_tokenizer(config["text_cfg"])  # before weights and model, which are slow
    file = _resolve_weights(model, pretrained)
    if file is not None and file.has_image != file.has_text:
        raise half_alone(
            file,
            "give a whole CLIP in MODEL.CLIP.PRETRAINED, whose text half is used, and this file in "
            "MODEL.CLIP.IMAGE_WEIGHTS",
        )
    image = read_clip(Path(image_weights)).image_half() if image_weights else None
    if patch_dropout is not None:
        if not 0 <= patch_dropout < 1:
            raise ValueError(f"patch_dropout={patch_dropout}; give a share from 0 to below 1.")
        config["vision_cfg"]["patch_dropout"] = patch_dropout
    if layer_norm_eps is not None:
        _require_vit(config, f"layer_norm_eps={layer_norm_eps}")
        if config["vision_cfg"].get("timm_model_name"):
            raise ValueError(
                f"layer_norm_eps={layer_norm_eps} cannot be set for networks of timm, which have "
                "their own; leave it at its default"
            )
        config["vision_cfg"]["norm_kwargs"] = {"eps": layer_norm_eps}
    tower = CLIPTower(
        _build_model(config),
        tokenizer,
        mean or preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN,
        std or preprocess.get("std") or open_clip.OPENAI_DATASET_STD,
    )
    tower.chosen = Chosen(quick_gelu, mean, std)
    if quick_gelu is not None:
        set_quick_gelu(tower.model, quick_gelu is True, text=False)
        set_quick_gelu(tower.model, bool(quick_gelu), image=False)
    tower.knows_shapes_only = model == _PACKAGED and pretrained is None and image is None
    tower.has_random_weights = True
    tower.possible_activations = _published_activations(model, config)
    if file is not None:
        load_file(tower, file, key="MODEL.CLIP.PRETRAINED")
    if image is not None:
        load_file(tower, image, key="MODEL.CLIP.IMAGE_WEIGHTS")
    return tower.eval().to(device)


def _read_config(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config of the model, and of its pixel statistics ({} if unknown)."""
    if model == _PACKAGED:
        text = (_assets() / "shapes_clip.json").read_text(encoding="utf-8")
    elif model.endswith(".json"):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(
                f"model={model!r}: the config file does not exist; correct the path."
            )
        text = path.read_text(encoding="utf-8")
    else:
        return _named_config(model)
    config = json.loads(text)
    preprocess = config.get("preprocess_cfg", {})
    config = config.get("model_cfg", config)
    absent = {"embed_dim", "vision_cfg", "text_cfg"} - config.keys()
    if absent:
        raise ValueError(f"model={model!r}: the config lacks {sorted(absent)}; add them.")
    return config, preprocess


def _named_config(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    names = open_clip.list_models()
    if model not in names:
        near = difflib.get_close_matches(model, [*names, _PACKAGED], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"model={model!r} is not a model name of open_clip; {hint}for another model give the "
            "path of its config, ending in .json; ShapesCLIP is part of this package"
        )
    # Statistics shared by all published weights of a name are also those of a weight file.
    tags = open_clip.list_pretrained_tags_by_model(model)
    known = {
        (tuple(cfg["mean"]), tuple(cfg["std"]))
        for cfg in (open_clip.get_pretrained_cfg(model, tag) for tag in tags)
    }
    preprocess = dict(zip(("mean", "std"), known.pop(), strict=True)) if len(known) == 1 else {}
    return open_clip.get_model_config(model), preprocess


def _resolve_weights(model: str, pretrained: str | Path | None) -> CLIPFile | None:
    """Find and read the weight file, which may be downloaded for a tag; None is random weights."""
    if pretrained == "random":
        return None
    if pretrained is None:
        if model != _PACKAGED:
            tags = open_clip.list_pretrained_tags_by_model(model)
            tag = f"a tag of open_clip such as {tags[0]!r}, " if tags else ""
            raise ValueError(
                f"pretrained is empty, and {model!r} has no packaged weights; give {tag}a weight "
                "file, or the word random (in a config: MODEL.CLIP.PRETRAINED)"
            )
        return read_clip(_packaged_weights())
    cfg = open_clip.get_pretrained_cfg(model, str(pretrained))
    if cfg:
        file = read_clip(find_published(f"{pretrained!r} of {model!r}", cfg))
        return dataclasses.replace(file, training=tag_training(model, str(pretrained)))
    path = Path(pretrained)
    if path.is_dir():
        return read_clip(weights_in_folder(path, (*OPEN_CLIP_FILES, *TIMM_FILES)))
    if path.is_file() or isinstance(pretrained, Path) or pretrained.endswith(_WEIGHT_SUFFIXES):
        return read_clip(path)
    tags = open_clip.list_pretrained_tags_by_model(model)
    raise ValueError(
        f"pretrained={pretrained!r} is neither a weight file, a folder with one nor a tag of "
        f"{model!r}; its tags are {tags}."
    )


def _published_activations(model: str, config: dict[str, Any]) -> set[bool]:
    """Return whether the published weights of a model name have QuickGELU, else the config's."""
    tags = open_clip.list_pretrained_tags_by_model(model)
    configs = [open_clip.get_pretrained_cfg(model, tag) for tag in tags] or [config]
    return {bool(cfg.get("quick_gelu", False)) for cfg in configs}


def _packaged_weights() -> Path:
    path = Path(str(_assets() / "shapes_clip.safetensors"))
    if not path.is_file():
        raise FileNotFoundError(
            f"the weights of {_PACKAGED} are not in this installation ({path}); train them with "
            "configs/clip.yaml, or set pretrained='random'."
        )
    return path


def _assets() -> Any:
    return resources.files("ovseg_d2") / "assets"


def _refuse_unsupported(config: dict[str, Any]) -> None:
    """Refuse unsupported image towers before they are built, which is slow."""
    name = config["vision_cfg"].get("timm_model_name")
    if name and not is_model_in_modules(name, _TIMM_VITS + _TIMM_CONVOLUTIONS):
        raise ValueError(
            f"the image tower is timm's {name!r}, which is not supported; choose a model whose "
            "image tower is open_clip's VisionTransformer, its ModifiedResNet or timm's ViT, EVA, "
            "FastViT or ConvNeXt, such as 'ViT-B-16'."
        )


def _build_model(config: dict[str, Any]) -> nn.Module:
    """Build open_clip's model of a config, with random weights."""
    config = copy.deepcopy(config)
    vision = config["vision_cfg"]
    if vision.get("patch_dropout"):
        _require_vit(config, f"patch_dropout={vision['patch_dropout']}")
    # Weights come from a file or are random: timm does not download its own.
    vision["timm_model_pretrained"] = False
    text = config["text_cfg"]
    name = text.get("hf_model_name")
    if name:
        what = "the text encoder"
        require_transformers(f"{what} {name!r}")
        text["hf_model_name"] = find_hf_files(name, what, ("config.json",), "hf_model_name")
        text["hf_model_pretrained"] = False
    custom_text = config.pop("custom_text", False)
    if "multimodal_cfg" in config:
        return open_clip.CoCa(**config)
    return (open_clip.CustomTextCLIP if custom_text or name else open_clip.CLIP)(**config)


def _require_vit(config: dict[str, Any], option: str) -> None:
    """Refuse an option of ViTs for a tower of another kind."""
    vision = config["vision_cfg"]
    convolutions = not isinstance(vision.get("layers", 12), int)
    timm_name = vision.get("timm_model_name")
    if timm_name:
        convolutions = is_model_in_modules(timm_name, _TIMM_CONVOLUTIONS)
    if convolutions:
        raise ValueError(
            f"{option}, which convolutional image towers do not have; leave it at its default or "
            "choose a ViT."
        )


def _build_tokenizer(text_cfg: dict[str, Any]) -> SimpleTokenizer | HFTokenizer:
    """Build the tokenizer of a text tower."""
    context_length = text_cfg.get("context_length", open_clip.CLIPTextCfg.context_length)
    arguments = text_cfg.get("tokenizer_kwargs") or {}
    name = text_cfg.get("hf_tokenizer_name")
    if not name:
        return SimpleTokenizer(**arguments) if arguments else _clip_tokenizer()
    mode = text_cfg.get("tokenizer_mode")
    return build_hf_tokenizer(name, context_length=context_length, tokenizer_mode=mode, **arguments)


@cache
def _clip_tokenizer() -> SimpleTokenizer:
    """Return CLIP's tokenizer; reading its table takes longer than building a small model."""
    return SimpleTokenizer()
