"""MaskCLIP through detectron2: batches of dicts in, scores at any size out."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.d2.engine import DefaultPredictor
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.ops import (
    Background,
    GuidedUpsampling,
    PixelRefinement,
    Propagation,
    Refinement,
)
from ovseg_d2.plugin import MaskCLIP
from ovseg_d2.systems import Spreading
from ovseg_d2.vocab import Vocabulary


def image_of(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_maskclip_is_registered(build):
    assert META_ARCH_REGISTRY.get("MaskCLIP") is MaskCLIP
    assert type(build("MODEL.META_ARCHITECTURE", "MaskCLIP")) is MaskCLIP


def test_maskclip_is_frozen(build):
    assert not any(p.requires_grad for p in build().parameters())


def test_scores_are_the_systems(build):
    model = build()
    image = image_of(24, 32)
    words = "red star, grass"
    scores = model([{"image": image, "classes": words}])[0]["sem_seg"]
    # Whole patches of 8 pixels and no resizing: bilinear by 8, worked by torch itself.
    patches = model.system(image[None].float(), model.text_bank.embed(["red star", "grass"]))
    expected = torch.nn.functional.interpolate(
        patches, scale_factor=8, mode="bilinear", align_corners=False
    )[0]
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_images_of_a_batch_differ_in_size_and_vocabulary(build):
    model = build()
    inputs = [
        {"image": image_of(24, 32, 1), "classes": ["a", "b", "c"], "height": 50, "width": 21},
        {"image": image_of(13, 9, 2), "classes": "dog, cat"},
        {"image": image_of(8, 40, 3), "classes": "sky"},
    ]
    together = model(inputs)
    assert [tuple(output["sem_seg"].shape) for output in together] == [
        (3, 50, 21),
        (2, 13, 9),
        (1, 8, 40),
    ]
    for one, output in zip(inputs, together, strict=True):
        torch.testing.assert_close(model([one])[0]["sem_seg"], output["sem_seg"])
    assert model([]) == []


def test_segment_is_argmax_of_scores(build):
    model = build()
    inputs = [
        {"image": image_of(30, 41, 1), "classes": "a, b, c, d", "height": 61, "width": 80},
        {"image": image_of(1, 17, 2), "classes": "x, y"},
    ]
    assert model.segment(inputs)[0].unique().numel() > 1
    for scores, labels in zip(model(inputs), model.segment(inputs), strict=True):
        assert labels.dtype == torch.int64
        assert torch.equal(labels, scores["sem_seg"].argmax(dim=0))


def test_scores_follow_input_format(build):
    image = image_of(16, 16)
    rgb, bgr = build(), build("INPUT.FORMAT", "BGR")
    of_rgb = rgb([{"image": image, "classes": "a, b"}])[0]["sem_seg"]
    of_bgr = bgr([{"image": image.flip(0), "classes": "a, b"}])[0]["sem_seg"]
    torch.testing.assert_close(of_rgb, of_bgr)
    assert not torch.allclose(
        of_rgb, rgb([{"image": image.flip(0), "classes": "a, b"}])[0]["sem_seg"]
    )


def test_scores_have_no_gradient(build):
    assert not build()([{"image": image_of(8, 8), "classes": "a"}])[0]["sem_seg"].requires_grad


def test_checkpointer_saves_and_loads_maskclip(build, tmp_path):
    model, other = build(), build()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    inputs = [{"image": image_of(16, 24), "classes": "a, b, c"}]
    before = model(inputs)[0]["sem_seg"]
    assert not torch.allclose(other(inputs)[0]["sem_seg"], before)
    DetectionCheckpointer(model, str(tmp_path)).save("saved")
    DetectionCheckpointer(other).load(str(tmp_path / "saved.pth"))
    assert torch.equal(other(inputs)[0]["sem_seg"], before)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_default_predictor_runs_maskclip(build, tiny_cfg, tmp_path, toy_dataset, image_format):
    name = toy_dataset("ovseg_toy_predicted", ["sky", "sea", "sand"])
    model = build()
    DetectionCheckpointer(model, str(tmp_path)).save("saved")
    cfg = tiny_cfg(
        *("DATASETS.TEST", f"('{name}',)", "MODEL.WEIGHTS", str(tmp_path / "saved.pth")),
        *("INPUT.FORMAT", image_format),
    )
    torch.manual_seed(1)  # other random weights than the file's
    predictor = DefaultPredictor(cfg)
    rgb = image_of(20, 28)
    bgr_array = np.ascontiguousarray(rgb.flip(0).permute(1, 2, 0).numpy())
    result = predictor(bgr_array)["sem_seg"]
    assert result.shape == (3, 20, 28)
    expected = model([{"image": rgb, "classes": ["sky", "sea", "sand"]}])[0]["sem_seg"]
    torch.testing.assert_close(result, expected)
    assert list(predictor.metadata.stuff_classes) == ["sky", "sea", "sand"]


def test_default_predictor_returns_the_images_size(tiny_cfg):
    cfg = tiny_cfg("INPUT.MIN_SIZE_TEST", "40", "MODEL.TEXT.CLASSES", "['a', 'b']")
    result = DefaultPredictor(cfg)(image_of(20, 28).permute(1, 2, 0).numpy())
    assert result["sem_seg"].shape == (2, 20, 28)


def test_models_do_not_share_vocabularies(tiny_cfg):
    first, second = build_model(tiny_cfg()), build_model(tiny_cfg())
    first.set_vocabulary("a")
    second.set_vocabulary("b, c")
    assert first.vocabulary_of({}).names == ("a",)
    assert second.vocabulary_of({}).names == ("b", "c")


def test_options_reach_the_plain_system(build, check_attributes):
    model = build(
        *("MODEL.MASKCLIP.PROMPT_DENOISING", "0.4", "MODEL.MASKCLIP.KEY_SMOOTHING", "0.9"),
        *("MODEL.MASKCLIP.BACKGROUND_THRESHOLD", "0.3", "MODEL.MASKCLIP.WINDOW", "16"),
        *("MODEL.MASKCLIP.BACKGROUND_MIN_SHARE", "0.1", "MODEL.MASKCLIP.STRIDE", "8"),
        *("MODEL.MASKCLIP.LOGIT_SCALE", "40.0", "MODEL.MASKCLIP.OFFICIAL", "True"),
        *("MODEL.MASKCLIP.PAMR.STEPS", "3", "MODEL.MASKCLIP.PAMR.DILATIONS", "[2, 5]"),
        *("MODEL.MASKCLIP.SHIFTS", "3", "MODEL.MASKCLIP.AVERAGE", "probabilities"),
        *("MODEL.MASKCLIP.GUIDED.RADIUS", "1", "MODEL.MASKCLIP.GUIDED.SPACE_STD", "0.5"),
        *("MODEL.MASKCLIP.GUIDED.COLOUR_STD", "9.0"),
    )
    expected = {
        "shifts": 3,
        "average": "probabilities",
        "pixels": PixelRefinement(3, (2, 5)),
        "guided": GuidedUpsampling(1, 0.5, 9.0),
        "refine": Refinement(prompt_denoising=0.4, key_smoothing=0.9),
        "background": Background(threshold=0.3, min_share=0.1),
        **{"window": (16, 16), "stride": (8, 8), "logit_scale": 40, "official": True},
    }
    check_attributes(model.system, expected)
    defaults = {
        "refine": Refinement(),
        "background": Background(),
        "window": None,
        "shifts": 1,
        "guided": None,
    }
    defaults |= {"pixels": None, "logit_scale": None, "official": False}
    check_attributes(build().system, defaults)


def test_independent_words_of_a_siglip(build, tiny_clip_config, tmp_path):
    path = tmp_path / "siglip.json"
    path.write_text(json.dumps({**tiny_clip_config, "init_logit_bias": -10.0}))
    opts = ("MODEL.CLIP.NAME", str(path), "MODEL.MASKCLIP.INDEPENDENT", "True")
    model = build(*opts)
    scores = model([{"image": image_of(24, 32), "classes": "red star, grass"}])[0]["sem_seg"]
    # 14.3 times a cosine of at most 1, less 10.
    assert 0 <= scores.min() and scores.max() <= 0.987
    assert scores.sum(dim=0).max() != pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="logit_bias .* leave MODEL.MASKCLIP.INDEPENDENT False"):
        build("MODEL.MASKCLIP.INDEPENDENT", "True")


def test_background_classes_are_merged(build):
    words = Vocabulary.from_names(["sky", "wall", "cat"], background=["sky", "wall"])
    model = build()
    sample = {"image": image_of(32, 32), "classes": words}
    labels = model.segment([sample])[0]
    apart = model.segment([{**sample, "classes": ["sky", "wall", "cat"]}])[0]
    assert (apart == 1).any()
    assert torch.equal(labels, torch.where(apart == 1, 0, apart))


def test_class_thresholds_label_unsure_pixels_of_their_class(build):
    words = Vocabulary.from_names(["nothing", "cat", "dog"], background=["nothing"])
    sample = {"image": image_of(32, 32), "classes": words}
    model = build("MODEL.MASKCLIP.CLASS_THRESHOLDS", "['Dog = 1']")
    plain = build().segment([sample])[0]
    assert {1, 2} <= set(plain.unique().tolist())
    assert torch.equal(model.segment([sample])[0], torch.where(plain == 2, 0, plain))
    with pytest.raises(ValueError, match=r"CLASS_THRESHOLDS: 'Dog' is not a class of this voc"):
        model.segment([{**sample, "classes": "cat, sky"}])
    with pytest.raises(ValueError, match=r"add a background class .*CLASS_THRESHOLDS \[\]"):
        model.segment([{**sample, "classes": "cat, dog"}])
    with pytest.raises(ValueError, match="CLASS_THRESHOLDS holds 'dog'; give a class and"):
        build("MODEL.MASKCLIP.CLASS_THRESHOLDS", "['dog']")


def test_background_threshold_labels_unsure_pixels(build):
    words = Vocabulary.from_names(["nothing", "cat", "dog"], background=["nothing"])
    model = build("MODEL.MASKCLIP.BACKGROUND_THRESHOLD", "1.0")
    assert (model.segment([{"image": image_of(32, 32), "classes": words}])[0] == 0).all()
    with pytest.raises(ValueError, match="background_ids is empty"):
        model.segment([{"image": image_of(32, 32), "classes": "cat, dog"}])


def test_synonyms_max_scores_the_best_word(build):
    words = Vocabulary.from_names(["pet", "sky"], synonyms=[["cat", "dog"], ["sky"]])
    sample = {"image": image_of(32, 40)}
    model = build("MODEL.TEXT.SYNONYMS", "max")
    labels = model.segment([{**sample, "classes": words}])[0]
    apart = model.segment([{**sample, "classes": "cat, dog, sky"}])[0]
    assert torch.equal(labels, torch.tensor([0, 0, 1])[apart])
    mean = build().segment([{**sample, "classes": words}])[0]
    assert not torch.equal(labels, mean)


def test_coarse_tower_logs_a_warning(build, tiny_opts, caplog, tmp_path):
    config = json.loads(Path(tiny_opts[tiny_opts.index("MODEL.CLIP.NAME") + 1]).read_text())
    config.get("model_cfg", config)["vision_cfg"].update(patch_size=32, image_size=64)
    path = tmp_path / "coarse.json"
    path.write_text(json.dumps(config))
    build()
    assert "patches of" not in caplog.text
    build("MODEL.CLIP.NAME", str(path))
    assert "patches of 32x32" in caplog.text and "ViT-B-16" in caplog.text


def test_guide_is_read_again_from_a_file_that_changed(build, tmp_path):
    path, guide = tmp_path / "guide.pth", "MODEL.MASKCLIP.GUIDE."
    options = ("MODEL.CLIP.LAST_BLOCK.ATTENTION", "affinity", f"{guide}NAME", "test_vit")
    images, feats = torch.rand(1, 3, 32, 32) * 255, []
    for _ in range(2):
        network = timm.create_model("test_vit", num_classes=0)
        torch.save(network.state_dict(), path)
        feats.append(build(*options, f"{guide}WEIGHTS", str(path)).maskclip.guide(images))
    assert not torch.equal(*feats)


def test_key_smoothing_needs_attention(build):
    opts = ("MODEL.CLIP.NAME", "convnext_base", "MODEL.CLIP.PRETRAINED", "random")
    with pytest.raises(ValueError, match="no attention"):
        build(*opts, "MODEL.MASKCLIP.KEY_SMOOTHING", "1.0")


def test_thousand_classes_on_unequal_images(build):
    words = [f"thing number {i}" for i in range(1000)]
    model = build()
    inputs = [
        {"image": image_of(16, 40, 1), "classes": words, "height": 33, "width": 70},
        {"image": image_of(31, 9, 2), "classes": words},
    ]
    scores = model(inputs)
    labels = model.segment(inputs)
    assert [tuple(output["sem_seg"].shape) for output in scores] == [(1000, 33, 70), (1000, 31, 9)]
    for one, label_map in zip(scores, labels, strict=True):
        chosen = one["sem_seg"].gather(0, label_map[None])[0]
        torch.testing.assert_close(chosen, one["sem_seg"].amax(0), rtol=0, atol=1e-5)


def test_guide_keys_reach_the_system(build, monkeypatch):
    create = timm.create_model
    tiny = {"depth": 1, "embed_dim": 32, "num_heads": 2}
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **{**options, **tiny})
    )
    block, guide = "MODEL.CLIP.LAST_BLOCK.ATTENTION", "MODEL.MASKCLIP.GUIDE."
    model = build(
        *(block, "affinity", f"{guide}NAME", "vit_tiny_patch16_384"),
        *(f"{guide}WEIGHTS", "random", f"{guide}SIZE", "64", f"{guide}FEATURES", "key"),
    )
    image = image_of(24, 32)
    assert model.maskclip.guide(image[None].float()).shape == (1, 32, 4, 5)
    assert model.maskclip.guide._features == "key"
    assert model([{"image": image, "classes": "a, b"}])[0]["sem_seg"].shape == (2, 24, 32)
    assert not [name for name in model.state_dict() if "guide" in name]
    assert build(f"{guide}NAME", "vit_tiny_patch16_224").maskclip.guide is None
    with pytest.raises(ValueError, match="guide is None; name one in MODEL.MASKCLIP.GUIDE.NAME"):
        build(block, "affinity")


def test_spreading_keys_reach_the_system(build):
    prefix = "MODEL.MASKCLIP."
    values = {"GLOBAL_MIXING": 7.0, "PROPAGATION.ALPHA": 0.5, "PROPAGATION.NEIGHBOURS": 9}
    values |= {"PROPAGATION.EXPONENT": 2.0, "PROPAGATION.DECAY": 0.1, "PROPAGATION.STEPS": 4}
    model = build(*(str(x) for key, value in values.items() for x in (prefix + key, value)))
    assert model.maskclip.spreading == Spreading(7.0, Propagation(0.5, 9, 2.0, 0.1, 4))
    assert model([{"image": image_of(24, 32), "classes": "a, b"}])[0]["sem_seg"].shape[0] == 2
    assert build().maskclip.spreading == Spreading()
