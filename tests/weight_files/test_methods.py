import pytest

from ovseg_d2.weight_files import describe_method


@pytest.mark.parametrize(
    ("names", "method"),
    [
        (["image_encoder.pos_embed", "mask_decoder.iou_token.weight"], "SAM"),
        (["visual.proj", "logit_scale"], "CLIP"),
        (["module.visual.proj", "module.logit_scale"], "CLIP"),
        (["text_model.a", "vision_model.b", "logit_scale"], "CLIP in the format of Hugging Face"),
        (["vision_model.head.probe", "text_model.a", "vision_model.b"], "SigLIP"),
        (["visual.trunk.attn_pool.q.weight", "logit_scale", "logit_bias"], "CLIP"),
        (["img_encoder.layers.0.group_token", "logit_scale"], "GroupViT"),
        (["tower.model.visual.proj", "tower.model.logit_scale"], "a training of this project"),
        (["cls_token", "pos_embed", "blocks.0.attn.qkv.weight"], "a ViT of timm"),
        (["conv1.weight", "layer1.0.conv1.weight"], "a ResNet of torchvision or timm"),
        (["clip_adapter.clip_model.visual", "sem_seg_head.predictor.a"], "OVSeg's release"),
        (["a", "b"], ""),
        ([], ""),
    ],
)
def test_describe_method_by_names(names, method):
    assert describe_method(names).startswith(method)
    assert bool(describe_method(names)) == bool(method)
