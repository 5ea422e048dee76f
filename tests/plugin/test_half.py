"""Meta-architectures predict the same in half precision as in float32."""

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.data.shapes import read_image, read_labels
from ovseg_d2.masks import masks_of_labels
from ovseg_d2.vocab import Vocabulary

NAME = "shapes://dev/0/3"
WORDS = "red star, grass, sand, water, brick, blue ring"
CONFIGS = {
    "CLIPFineTune": "finetune_baseline",
    "CLIPPretrain": "clip",
    "MaskAdaptedCLIP": "ovseg_clip_mpt",
    "MaskCLIP": "maskclip",
    "MaskCLIPPlus": "maskclip_plus",
    "MaskedDistillCLIP": "masked_distill_clip",
    "OVSeg": "ovseg",
    "OVSegMaskFormer": "ovseg",
    "PixelCLIP": "pixelclip",
}
SMOOTHING = ("MODEL.MASKCLIP.KEY_SMOOTHING", "1.0")
BACKGROUND = ("MODEL.MASKCLIP.BACKGROUND_THRESHOLD", "0.1")
NEIGHBOURS = (
    *("MODEL.CLIP.LAST_BLOCK.ATTENTION", "neighbourhood_kk"),
    *("MODEL.CLIP.LAST_BLOCK.RESIDUAL", "none", "MODEL.CLIP.LAST_BLOCK.MLP", "False"),
)
MAX_SYNONYMS = ("MODEL.TEXT.SYNONYMS", "max")


def build(name, *opts):
    torch.manual_seed(0)
    keys = ["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", name, *opts]
    model = build_model(load_config(f"configs/{CONFIGS[name]}.yaml", keys)).eval()
    model.may_answer = True  # with random weights
    return model


def answer(model, words=WORDS):
    """Scores (K, ...) of an image's pixels, or of its masks."""
    image = torch.from_numpy(read_image(NAME).copy()).permute(2, 0, 1)
    masks = torch.from_numpy(masks_of_labels(read_labels(NAME)))
    scores = model([{"image": image, "classes": words, "masks": masks}])[0]
    return scores["sem_seg"] if "sem_seg" in scores else scores["mask_probs"].t()


def test_configs_cover_all_architectures():
    ours = [
        name for name, kind in META_ARCH_REGISTRY if kind.__module__.startswith("ovseg_d2.plugin")
    ]
    assert sorted(CONFIGS) == sorted(ours)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_half_precision_labels_agree(name, dtype):
    model = build(name)
    expected = answer(model)
    scores = answer(model.to(dtype))
    assert scores.dtype == torch.float32  # cosines in half precision would be ties
    assert (scores.argmax(0) == expected.argmax(0)).float().mean() > 0.95
    spread = expected.amax(0) - expected.amin(0)
    assert (scores - expected).abs().mean() < 0.1 * spread.mean() + 1e-6


@pytest.mark.parametrize("opts", [SMOOTHING, BACKGROUND, NEIGHBOURS, MAX_SYNONYMS])
def test_half_precision_labels_agree_for_variants(opts):
    model = build("MaskCLIP", *opts)
    words = Vocabulary.from_names(
        ["background", "red star", "grass", "sand"],
        synonyms=[["background"], ["red star"], ["grass", "lawn"], ["sand"]],
        background=["background"],
    )
    expected = answer(model, words)
    scores = answer(model.bfloat16(), words)
    assert (scores.argmax(0) == expected.argmax(0)).float().mean() > 0.95


def test_segment_in_other_dtypes():
    model = build("MaskCLIP")
    image = torch.from_numpy(read_image(NAME).copy()).permute(2, 0, 1)
    expected = model.segment([{"image": image, "classes": WORDS}])[0]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        scores = model.to(dtype).segment([{"image": image, "classes": WORDS}])[0]
        assert (scores == expected).float().mean() > 0.95


def test_unsupported_half_precision_is_refused(monkeypatch):
    model = build("MaskCLIP").half()

    def refuse(*args, **kwargs):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(type(model.scorer), "score_pixels", refuse)
    with pytest.raises(
        ValueError, match=r"a MaskCLIP in torch.float16 cannot run on cpu .*bfloat16"
    ):
        answer(model)
