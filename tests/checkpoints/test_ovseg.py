"""Released weights of OVSeg: every name is mapped, and the whole model gives official numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from ovseg_d2.checkpoints import convert_ovseg, convert_proposal_head
from ovseg_d2.clip import CLIPTower, MaskPromptedTower
from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_backbone
from ovseg_d2.nets import ProposalHead, build_swin_features, proposal_head_parts
from ovseg_d2.ops import CropOptions
from ovseg_d2.systems import MaskFormerProposals, OVSeg, OVSegClassifier, OVSegMaskFormer
from ovseg_d2.text import ClassTexts, TextBank

_ROOT = Path(__file__).resolve().parents[2]
_LAYOUTS = _ROOT.parent / "shared" / "parity" / "layouts"
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Whole(nn.Module):
    """The parts under the names that the adapter gives them."""

    def __init__(self, system: OVSegMaskFormer, prompted: MaskPromptedTower) -> None:
        super().__init__()
        self.system, self.prompted = system, prompted


class Backbone(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        return self.network(images)


def official_model(about: dict[str, Any]) -> Whole:
    swin, head, clip = about["swin"], about["head_cfg"], about["clip"]
    network = build_swin_features(
        "swin_tiny_patch4_window7_224",
        options=(
            ("embed_dim", swin["embed_dim"]),
            ("depths", tuple(swin["depths"])),
            ("num_heads", tuple(swin["num_heads"])),
            ("window_size", swin["window_size"]),
        ),
    )
    system = OVSegMaskFormer(
        backbone=Backbone(network),
        head=ProposalHead(
            **proposal_head_parts(
                network.channels,
                head["embedding_dim"],
                conv_channels=head["convs_dim"],
                mask_channels=head["mask_dim"],
                dim=head["hidden_dim"],
                num_queries=head["num_queries"],
                num_layers=head["dec_layers"],
                num_heads=head["nheads"],
                hidden_dim=head["dim_feedforward"],
                query_hidden_dim=head["embed_hidden_dim"],
                dropout=0.0,
            )
        ),
        embed_dim=head["embedding_dim"],
        mean=[value / 255 for value in _MEAN],
        std=[value / 255 for value in _STD],
    )
    vision = {"image_size": clip["clip_resolution"], "patch_size": clip["patch_size"]}
    vision |= {"layers": clip["vision_layers"], "width": clip["vision_width"], "head_width": 64}
    text = {"width": clip["text_width"], "heads": clip["text_width"] // 64}
    text |= {"layers": clip["text_layers"]}
    model = open_clip.CLIP(clip["embed_dim"], vision, text, quick_gelu=True)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean, std)
    return Whole(system, MaskPromptedTower(tower, depth=clip["vision_layers"])).eval()


@pytest.fixture
def whole(parity: Callable[[str], Any]) -> Any:
    """Give the case of the whole model, the model with its weights, and its texts."""
    case = parity("ovseg_full_model")
    model = official_model(case.construct)
    weights = convert_ovseg(case.weights).weights
    # The case has a tower of two blocks, so that the third row of its prompts enters none.
    weights["prompted.prompts"] = weights["prompted.prompts"][: model.prompted.depth]
    model.load_state_dict(weights)
    text_bank = TextBank(model.prompted.tower, "vild", synonyms="joined")
    return case, model, ClassTexts(text_bank.embed(case.construct["class_names"]))


def ovseg(model: Whole, about: dict[str, Any], lam: float) -> OVSeg:
    adapter = about["clip_adapter"]
    crop = CropOptions(threshold=adapter["mask_thr"], expand_ratio=adapter["mask_expand_ratio"])
    classifier = OVSegClassifier(model.prompted, crop=crop)
    return OVSeg(MaskFormerProposals(model.system), classifier, lam=lam, official=True)


@torch.no_grad()
def test_converted_weights_give_official_proposals(whole: Any) -> None:
    case, model, texts = whole
    call = case.subcases["eval"]
    image = call.inputs["image"].float()
    (found,) = model.system.propose([image], texts)
    call.check("mask_class_logits", found.class_logits)
    stride = call.args["mask_logits_stride"]
    call.check("mask_logits", found.mask_logits()[:, ::stride, ::stride])
    classifier = ovseg(model, case.construct, 0.7).classifier
    embeds, valid = classifier.embed_masks(image, found.mask_probs())
    call.check("valid", valid)
    # The release's last column is "no object".
    expected = call.outputs["clip_logits"][:, :-1]
    torch.testing.assert_close(100 * embeds @ texts.embeds.t(), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("subcase_id", ["eval", "eval_weight_0"])
def test_converted_weights_give_official_segmentation(whole: Any, subcase_id: str) -> None:
    case, model, texts = whole
    call = case.subcases[subcase_id]
    system = ovseg(model, case.construct, call.args["clip_ensemble_weight"])
    size = call.args["height"], call.args["width"]
    image = call.inputs["image"].float()
    call.check("sem_seg", system.score_pixels([image], texts, size)[0])


def test_converted_weights_give_official_losses(whole: Any) -> None:
    case, model, texts = whole
    call = case.subcases["train"]
    images = [image.float() for image in call.inputs.list("image")]
    losses = model.train().system(
        images, texts, call.inputs.list("labels"), call.inputs.list("masks")
    )
    for name, loss in losses.items():
        call.check(name, loss[None])
    sum(losses.values()).backward()
    head = model.system.head
    queries = head.transformer_decoder.query_positions
    grads = {
        "sem_seg_head.predictor.query_embed.weight": queries.weight,
        "sem_seg_head.predictor.class_embed.layers.1.weight": head.query_network[2].weight,
        "clip_adapter.non_object_embedding": model.system.no_object_embed,
        "backbone.patch_embed.proj.weight": model.system.backbone.network.patch_embed.proj.weight,
        "sem_seg_head.pixel_decoder.mask_features.weight": head.pixel_decoder.mask_conv.weight,
    }
    for name, parameter in grads.items():
        call.check(f"grad.{name}", parameter.grad)


def layout(name: str) -> dict[str, torch.Tensor]:
    path = _LAYOUTS / f"{name}.json"
    if not path.is_file():
        pytest.skip("the layouts of released checkpoints are not here")
    return {
        key: torch.empty(shape, device="meta", dtype=getattr(torch, dtype.removeprefix("torch.")))
        for key, shape, dtype in json.loads(path.read_text())
    }


def published_backbone(name: str) -> nn.Module:
    cfg = load_config(_ROOT / "configs" / "paper" / f"ovseg_{name}.yaml")
    if "swin" in name:  # as the adapter holds it, whose constructor would run it
        return Backbone(build_swin_features(cfg.MODEL.TIMM.NAME))
    return build_backbone(cfg)


@pytest.mark.parametrize("backbone", ["swinb_vitl14", "r101c_vitb16"])
def test_convert_ovseg_maps_every_name(backbone: str) -> None:
    weights = layout(f"ovseg_{backbone}_mp3")
    converted = convert_ovseg(weights)
    found = converted.weights
    index = [key for key in weights if key.endswith("relative_position_index")]
    left_out = ("criterion.empty_weight", "clip_adapter.pixel_mean", "clip_adapter.pixel_std")
    assert set(converted.left_out) == {*index, *left_out}
    assert len(found) == len(weights) - len(converted.left_out)
    width = 768 if "vitl" in backbone else 512
    channels = (128, 256, 512, 1024) if "swin" in backbone else (256, 512, 1024, 2048)
    with torch.device("meta"):
        head = ProposalHead(**proposal_head_parts(channels, width))
        network = published_backbone(backbone)
    shapes = {f"system.backbone.{k}": v.shape for k, v in network.state_dict().items()}
    prefix = "system.backbone."
    assert {k: v.shape for k, v in found.items() if k.startswith(prefix)} == shapes
    shapes = {f"system.head.{k}": v.shape for k, v in head.state_dict().items()}
    prefix = "system.head."
    assert {k: v.shape for k, v in found.items() if k.startswith(prefix)} == shapes
    assert found["system.no_object_embed"].shape == (1, width)
    config = open_clip.get_model_config("ViT-L-14" if "vitl" in backbone else "ViT-B-16")
    with torch.device("meta"):
        clip = open_clip.CLIP(**config, quick_gelu=True)
    tower = {f"prompted.tower.model.{k}": v.shape for k, v in clip.state_dict().items()}
    assert {k: v.shape for k, v in found.items() if k.startswith("prompted.tower.")} == tower
    patches = (config["vision_cfg"]["image_size"] // config["vision_cfg"]["patch_size"]) ** 2
    assert found["prompted.prompts"].shape == (3, patches, config["vision_cfg"]["width"])


def test_convert_proposal_head_takes_a_doubled_prefix() -> None:
    once = {"pixel_decoder.adapter_1.weight": torch.zeros(1)}
    twice = {"pixel_decoder.pixel_decoder.adapter_1.weight": torch.zeros(1)}
    assert list(convert_proposal_head(once)) == list(convert_proposal_head(twice))


def test_convert_ovseg_refuses_other_weights() -> None:
    with pytest.raises(ValueError, match="no clip_adapter.non_object_embedding, so they are no"):
        convert_ovseg({"visual.proj": torch.zeros(1)})
    strange = {"clip_adapter.non_object_embedding": torch.zeros(1), "extra": torch.zeros(1)}
    with pytest.raises(ValueError, match="'extra' is not a weight of OVSeg's releases"):
        convert_ovseg(strange)
