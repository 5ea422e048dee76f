"""The method of a state dict by its names, for errors about wrong weights."""

from collections.abc import Iterable

__all__ = ["describe_method"]

# Parts of the names of a method's weights, the most specific method first.
_SIGNS = (
    ("OVSeg's release", ("clip_adapter.clip_model.", "sem_seg_head.predictor.")),
    ("a training of OVSeg", ("system.head.", "prompted.tower.")),
    ("SAN", ("side_adapter_network.", "clip_visual_extractor.")),
    (
        "CAT-Seg",
        ("sem_seg_head.predictor.clip_model.", "sem_seg_head.predictor.transformer.layers."),
    ),
    ("GroupViT", ("group_token",)),
    ("SigLIP in the format of Hugging Face", ("vision_model.head.probe",)),
    ("PixelCLIP's release", ("sem_seg_head.predictor.clip_model.", "teacher_encoder.")),
    ("MaskCLIP+'s release", ("decode_head.decode_module.", "decode_head.text_embeddings")),
    ("Mask2Former", ("sem_seg_head.predictor.transformer_cross_attention_layers.",)),
    ("a MaskFormer", ("sem_seg_head.predictor.", "sem_seg_head.pixel_decoder.")),
    ("SAM", ("image_encoder.pos_embed", "mask_decoder.")),
    ("CLIP in the format of Hugging Face", ("text_model.", "vision_model.")),
    ("a training of this project that owns a CLIP", ("tower.model.visual.", "logit_scale")),
    ("CLIP", ("visual.", "logit_scale")),
    ("a detector of detectron2", ("backbone.", "proposal_generator.")),
    ("DINO or its training", ("backbone.blocks.", "head.last_layer.")),
    ("a ViT of timm", ("cls_token", "pos_embed", "blocks.")),
    ("a ResNet of torchvision or timm", ("layer1.0.conv1.", "conv1.weight")),
)


def describe_method(names: Iterable[str]) -> str:
    """Return the method of a state dict's names, such as "SAM"; "" if unknown."""
    names = list(names)
    for method, signs in _SIGNS:
        if all(any(sign in name for name in names) for sign in signs):
            return method
    return ""
