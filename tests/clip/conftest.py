"""A tiny CLIP tower whose biases and scales are all random, so that none is a no-op."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from ovseg_d2.clip import CLIPTower

# Changes to the image half of the tiny config, by kind of tower. A location is 32 pixels of the
# towers of convolutions, and their native grid is 2x2.
VISION_KINDS = {
    "vit": {},
    "resnet": {"layers": [1, 2, 1, 1], "width": 4, "head_width": 32, "image_size": 64},
    "convnext": {
        "timm_model_name": "test_convnext",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 64,
    },
}


@pytest.fixture(scope="session")
def vision_kinds() -> dict[str, dict[str, Any]]:
    """Give the changes that turn the tiny config into one of each kind of image tower."""
    return VISION_KINDS


@pytest.fixture(params=VISION_KINDS.values(), ids=VISION_KINDS)
def vision_kind(request) -> dict[str, Any]:
    """Run a test once for each kind of image tower."""
    return request.param


@pytest.fixture(scope="session")
def script_archive() -> Callable[[dict[str, torch.Tensor], Path], None]:
    """Give a function that saves a state dict as TorchScript, the format of OpenAI's releases."""

    def save(state: dict[str, torch.Tensor], path: Path) -> None:
        root = nn.Module()
        for key, value in state.items():
            *parents, name = key.split(".")
            module = root
            for parent in parents:
                if parent not in dict(module.named_children()):
                    module.add_module(parent, nn.Module())
                module = module.get_submodule(parent)
            if value.is_floating_point():
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
            else:
                module.register_buffer(name, value)
        torch.jit.script(root).save(path)

    return save


@pytest.fixture(scope="session")
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(context_length=77)


@pytest.fixture
def words_folder(tmp_path_factory) -> str:
    """Write a tokenizer of transformers: ids of <pad>, <s>, </s>, <unk>, "a", "cat", "dog"."""
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ("<pad>", "<s>", "</s>", "<unk>", "a", "cat", "dog")
    ids = {word: number for number, word in enumerate(words)}
    table = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.Whitespace()
    table.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    folder = tmp_path_factory.mktemp("words")
    PreTrainedTokenizerFast(tokenizer_object=table, **names).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def build_model(tiny_clip_config) -> Callable[..., nn.Module]:
    """Give a function that builds the tiny model, with changes to its config by section."""

    def build(
        vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any
    ) -> nn.Module:
        config = {
            **tiny_clip_config,
            "vision_cfg": {**tiny_clip_config["vision_cfg"], **(vision or {})},
            "text_cfg": {**tiny_clip_config["text_cfg"], **(text or {})},
            **top,
        }
        custom_text = config.pop("custom_text", False)
        model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.5)
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 2)
        return model.eval()

    return build


@pytest.fixture
def build_tower(build_model, tokenizer) -> Callable[..., CLIPTower]:
    """Like `build_model`, with the tokenizer and OpenAI's statistics around it."""

    def build(**changes: Any) -> CLIPTower:
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        return CLIPTower(build_model(**changes), tokenizer, mean, std)

    return build


@pytest.fixture
def tower(build_tower) -> CLIPTower:
    return build_tower()


@pytest.fixture(scope="session")
def official_smoothing() -> Callable[..., torch.Tensor | None]:
    """Give a function that smooths a parity subcase's own similarities with keys of ours.

    It is the release's key smoothing, location by location: whether the result equals the
    subcase's logits says whether the keys do. None where the subcase smooths nothing, or denoises
    prompts first, which is not the keys' business.
    """

    def smooth(call: Any, keys: torch.Tensor) -> torch.Tensor | None:
        if not call.args.get("ks_thresh") or call.args.get("pd_thresh"):
            return None
        similarity = call.outputs["similarity"]
        probs = (100 * similarity).softmax(dim=1)
        out = probs.clone().flatten(2)
        for image, (own_probs, own_keys) in enumerate(
            zip(probs.flatten(2), keys.flatten(2), strict=True)
        ):
            own_keys = own_keys / own_keys.norm(dim=1, keepdim=True)  # over positions
            for place in range(own_probs.shape[1]):
                if own_probs[:, place].max() >= call.args["ks_thresh"]:
                    continue
                out[image, :, place] = sum(
                    (own_keys[:, place] @ own_keys[:, other]) * own_probs[:, other]
                    for other in range(own_probs.shape[1])
                )
        return out.unflatten(2, similarity.shape[2:])

    return smooth
