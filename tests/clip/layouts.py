"""Weight files of other projects, with their real names, around the tensors of a tiny CLIP.

Each function is written from the names of the other project, and imports nothing of the package.
"""

import re
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


def hugging_face(state: State) -> State:
    """Transformers' CLIPModel of a ViT, as in openai/clip-vit-base-patch16."""
    there = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.final_layer_norm.weight": state["ln_final.weight"],
        "text_model.final_layer_norm.bias": state["ln_final.bias"],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
    }
    for end in ("weight", "bias"):
        there[f"vision_model.pre_layrnorm.{end}"] = state[f"visual.ln_pre.{end}"]
        there[f"vision_model.post_layernorm.{end}"] = state[f"visual.ln_post.{end}"]
        for half, ours in (("text_model", ""), ("vision_model", "visual.")):
            for block in range(2):
                layer = f"{half}.encoder.layers.{block}"
                source = f"{ours}transformer.resblocks.{block}"
                three = state[f"{source}.attn.in_proj_{end}"].chunk(3)
                for name, part in zip(("q_proj", "k_proj", "v_proj"), three, strict=True):
                    there[f"{layer}.self_attn.{name}.{end}"] = part.clone()
                for name, own in (
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    there[f"{layer}.{name}.{end}"] = state[f"{source}.{own}.{end}"]
    return there


def openai(state: State) -> State:
    """A state dict of OpenAI's archives, which has three numbers beside the weights."""
    numbers = ("input_resolution", "context_length", "vocab_size")
    return state | {name: torch.tensor(32) for name in numbers}


def ovseg(state: State) -> dict[str, Any]:
    """The whole model of OVSeg with mask prompts of depth 2."""
    parts = {
        "backbone.patch_embed.proj.weight": torch.ones(4, 3, 4, 4),
        "sem_seg_head.predictor.query_embed.weight": torch.ones(6, 4),
        "criterion.empty_weight": torch.ones(3),
        "clip_adapter.non_object_embedding": torch.ones(1, 32),
        "clip_adapter.pixel_mean": torch.ones(1, 3, 1, 1),
        "clip_adapter.clip_model.visual.mask_embedding": torch.ones(2, 16, 32),
    }
    return {"model": parts | {f"clip_adapter.clip_model.{k}": v for k, v in state.items()}}


def ovseg_clip(state: State) -> dict[str, Any]:
    """A mask-adapted CLIP of OVSeg alone, as its training writes it."""
    state = state | {"visual.mask_embedding": torch.ones(2, 16, 32)}
    named = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 5, "name": "run", "state_dict": named, "optimizer": {"state": {}}}


def pixelclip(state: State) -> dict[str, Any]:
    """The whole model of PixelCLIP, whose teacher is another CLIP."""
    names = {
        "sem_seg_head.predictor.prompt_tokens": torch.ones(4, 4, 32),
        "head.conv0.weight": torch.ones(4, 1, 3, 3),
    }
    names |= {f"sem_seg_head.predictor.clip_model.{k}": v for k, v in state.items()}
    return {
        "model": names | {f"teacher_encoder.{k}": torch.zeros_like(v) for k, v in state.items()}
    }


def maskclip(state: State, *, backbone: bool) -> dict[str, Any]:
    """MaskCLIP's `*_clip_backbone.pth` or `*_clip_weights.pth` (convert_clip_weights.py)."""
    network: State = {}
    projections: dict[str, State] = {}
    stem = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
    is_vit = "visual.class_embedding" in state
    for key, value in state.items():
        if not key.startswith("visual."):
            continue
        key = key.removeprefix("visual.")
        if is_vit and key == "proj":
            projections["proj"] = {"weight": value.T}
            continue
        if is_vit:
            value = value[None, None] if key == "class_embedding" else value
            value = value[None] if key == "positional_embedding" else value
            for ours, theirs in (
                ("transformer.resblocks.", "layers."),
                ("mlp.c_fc", "ffn.layers.0.0"),
                ("mlp.c_proj", "ffn.layers.1"),
                ("attn.", "attn.attn."),
                ("ln_pre", "ln0"),
                ("ln_post", "ln1"),
                ("ln_", "ln"),
                ("conv1.weight", "patch_embed.projection.weight"),
            ):
                key = key.replace(ours, theirs)
            key = {"class_embedding": "cls_token", "positional_embedding": "pos_embed"}.get(
                key, key
            )
        elif key.startswith("attnpool"):
            if "proj" in key:  # so that the position embedding is lost
                _, name, end = key.split(".")
                projections.setdefault(name, {})[end] = value
            continue
        elif not key.startswith("layer"):
            name, end = key.split(".")
            key = f"stem.{stem[name]}.{end}"
        else:
            key = re.sub(r"downsample\.(\d)", lambda m: f"downsample.{int(m[1]) + 1}", key)
        network[key] = value.float()
    if backbone:
        return {"meta": {}, "state_dict": {f"backbone.{k}": v for k, v in network.items()}}
    return {**projections, "clip": network}


def san(state: State) -> dict[str, Any]:
    """The whole model of SAN, which has the blocks of CLIP's image half in two modules."""
    names = {"side_adapter_network.vit_model.pos_embed": torch.ones(1, 4, 4)}
    names |= {f"clip_visual_extractor.{k}": v for k, v in state.items() if "resblocks.0" in k}
    return {"model": names | {"ov_classifier.logit_scale": torch.ones(())}}


def cat_seg(state: State) -> dict[str, Any]:
    """The whole model of CAT-Seg, which adapts CLIP's attention for its own cost aggregation."""
    names = {"sem_seg_head.predictor.transformer.layers.0.norm.weight": torch.ones(4)}
    prefix = "sem_seg_head.predictor.clip_model."
    return {"model": names | {f"{prefix}{k}": v for k, v in state.items()}}
