"""OVSeg and its MaskFormer through detectron2: options, training, weights and scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_d2.clip import load_clip, save_weights
from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_model
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.masks import MaskFileError, write_masks
from ovseg_d2.ops import CropOptions
from ovseg_d2.plugin import OVSeg, OVSegMaskFormer, OVSegMaskFormerHead
from ovseg_d2.segmenter import Segmenter
from ovseg_d2.text import ClassTexts

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "QUERIES": 5,
    "CONV_CHANNELS": 32,
    "MASK_CHANNELS": 8,
    "DIM": 16,
    "LAYERS": 2,
    "HEADS": 2,
    "HIDDEN_DIM": 16,
    "EMBED_HIDDEN_DIM": 16,
    "DROPOUT": 0.0,
}
TIMM = (
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
    *("MODEL.TIMM.OUT_INDICES", "[1, 2]"),
)
OPTS = (
    *("MODEL.META_ARCHITECTURE", "OVSeg", "MODEL.SEM_SEG_HEAD.NAME", "OVSegMaskFormerHead"),
    *TIMM,
    *(str(w) for key, value in KEYS.items() for w in (f"MODEL.OVSEG.MASKFORMER.{key}", value)),
)
WORDS = ["red star", "grass", "blue dots"]


@pytest.fixture
def ovseg(build):
    """Give a function from further keys and values to a tiny OVSeg in evaluation mode."""
    return lambda *opts: build(*OPTS, *opts)


@pytest.fixture(scope="module", autouse=True)
def _labelled():
    """Register the classes of the training images' dataset for all tests."""
    MetadataCatalog.get("ovseg_test_words").set(stuff_classes=WORDS)
    yield
    MetadataCatalog.remove("ovseg_test_words")


def key(name, value):
    return f"MODEL.OVSEG.{name}", str(value)


def image_input(size=(32, 40), **entries):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    return {"image": image, "classes": WORDS, **entries}


def labelled(*sizes, low=-1):
    samples = []
    for size in sizes:
        labels = torch.randint(low, 3, (size[0] // 8, size[1] // 8))
        labels = labels.repeat_interleave(8, 0).repeat_interleave(8, 1)
        samples.append({**image_input(size), "sem_seg": labels, "dataset_name": "ovseg_test_words"})
    return samples


# --- options


def test_model_and_head_are_registered(ovseg):
    assert META_ARCH_REGISTRY.get("OVSeg") is OVSeg
    assert META_ARCH_REGISTRY.get("OVSegMaskFormer") is OVSegMaskFormer
    assert SEM_SEG_HEADS_REGISTRY.get("OVSegMaskFormerHead") is OVSegMaskFormerHead
    assert isinstance(ovseg().system.head, OVSegMaskFormerHead)


def test_options_reach_the_plain_system(ovseg, check_attributes):
    model = ovseg(
        *key("LAMBDA", 0.3),
        *key("OFFICIAL", True),
        *key("PROMPT_DEPTH", 2),
        *key("CROP.FILL", "zero"),
        *key("CROP.EXPAND_RATIO", 1.5),
        *key("CROP.THRESHOLD", 0.25),
        *key("CROP.MATTING", True),
        *key("CROP.BATCH_SIZE", 7),
        *key("MASKFORMER.NO_OBJECT_WEIGHT", 0.4),
        *key("MASKFORMER.MASK_WEIGHT", 5.0),
        *key("MASKFORMER.LOGIT_SCALE", 30.0),
        *key("MASKFORMER.DEEP_SUPERVISION", False),
        *key("MASKFORMER.SIZE_DIVISIBILITY", 20),
    )
    plain = {"lam": 0.3, "unseen_lam": None, "official": True, "demo": False}
    plain |= {"classifier.crop": CropOptions(0.25, 1.5, "zero", True)}
    plain |= {"classifier.batch_size": 7, "classifier.prompted.depth": 2}
    check_attributes(model.ovseg, plain)
    former = {"criterion.no_object_weight": 0.4, "criterion.mask_weight": 5.0}
    former |= {"criterion.matcher.mask_weight": 5.0, "logit_scale": 30.0}
    former |= {"deep_supervision": False}
    # A multiple of the backbone's coarsest stride that is at least SIZE_DIVISIBILITY.
    former |= {"size_divisibility": 24, "backbone.size_divisibility": 8}
    check_attributes(model.system, former)
    assert len(model.system.head.transformer_decoder.query_positions.weight) == 5


def test_keys_of_maskformers_release_reach_its_head(ovseg):
    assert not list(ovseg().system.head.transformer_decoder.encoder.parameters())
    options = {"PRE_NORM": True, "MEMORY_LAYERS": 1, "PROJECT_MEMORY": True, "ENCODER_LAYERS": 1}
    width = ("MODEL.OVSEG.MASKFORMER.DIM", "32")  # that of the memory, which needs no projection
    model = ovseg(*width, *(w for k, v in options.items() for w in key(f"MASKFORMER.{k}", v)))
    decoder, encoder = (
        model.system.head.transformer_decoder,
        model.system.head.pixel_decoder.encoder,
    )
    assert decoder.project.weight.shape == (32, 32, 1, 1)
    assert len(decoder.encoder.layers) == 1
    blocks = [decoder.layers[0].cross_attention, decoder.encoder.layers[0].feed_forward]
    assert all(block.norm_first for block in [*blocks, encoder.layers[0].self_attention])
    losses = model.train()(labelled((32, 40)))
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(
    ("opts", "channels"),
    [
        (TIMM, 3),
        ((*TIMM, "INPUT.FORMAT", "BGR"), 3),
        (("MODEL.BACKBONE.NAME", "OVSegCLIPBackbone"), 3),
        (
            (
                *("MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone"),
                *("MODEL.RESNETS.DEPTH", "50", "MODEL.RESNETS.STEM_OUT_CHANNELS", "128"),
                *("MODEL.RESNETS.OUT_FEATURES", "['res5', 'res2']"),
            ),
            3,
        ),
    ],
)
def test_ovseg_on_backbones(ovseg, opts, channels):
    model = ovseg(*opts)
    shapes = model.system.backbone.output_shape()
    names = sorted(shapes, key=lambda name: shapes[name].stride)
    assert list(model.system.in_features) == names
    assert model.system.head.pixel_decoder.channels == tuple(shapes[n].channels for n in names)
    (result,) = model([image_input()])
    assert result["sem_seg"].shape == (channels, 32, 40)
    losses = model.train()(labelled((32, 40), (24, 24)))
    sum(losses.values()).backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith("prompted.") for name in trained)


def test_in_features_select_maps(ovseg):
    model = ovseg(*key("MASKFORMER.IN_FEATURES", ["res3"]))
    assert model.system.head.pixel_decoder.channels == (
        model.system.backbone.output_shape()["res3"].channels,
    )


def test_detectron2_resnet_gets_its_channel_order(ovseg):
    resnet = (
        *("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES"),
        *("['res2']", "MODEL.PIXEL_MEAN", "[10.0, 20.0, 30.0]", "MODEL.PIXEL_STD", "[2., 4., 8.]"),
    )
    for image_format in ("RGB", "BGR"):
        model = ovseg(*resnet, "INPUT.FORMAT", image_format)
        seen = []
        model.system.backbone.stem.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0])
        )
        given = image_input()
        model([given])
        # In the order of the file, as detectron2 does it.
        for channel, (mean, std) in enumerate([(10, 2), (20, 4), (30, 8)]):
            expected = (given["image"][channel].float() - mean) / std
            torch.testing.assert_close(seen[0][0, channel, :32, :40], expected)


# --- words


def test_vocabulary_of_input_set_or_config(ovseg):
    model = ovseg("MODEL.TEXT.CLASSES", "['sky', 'sea', 'sand', 'grass']")
    image = image_input()["image"]
    assert model([{"image": image}])[0]["sem_seg"].shape[0] == 4
    model.set_vocabulary("a, b")
    assert model([{"image": image, "height": 10, "width": 12}])[0]["sem_seg"].shape == (2, 10, 12)
    both = model([image_input(), {**image_input((16, 24)), "classes": "one"}])
    assert [tuple(output["sem_seg"].shape) for output in both] == [(3, 32, 40), (1, 16, 24)]


def test_scores_are_the_systems(ovseg):
    model, given = ovseg(*key("LAMBDA", 0.4)), image_input(height=20, width=30)
    texts = model.text_bank.embed(WORDS)
    image = given["image"].float()[None]
    expected = model.ovseg.score_pixels(image, ClassTexts(texts), (20, 30))[0]
    torch.testing.assert_close(model([given])[0]["sem_seg"], expected)
    assert torch.equal(model.segment([given])[0], expected.argmax(dim=0))
    alone = ovseg("MODEL.META_ARCHITECTURE", "OVSegMaskFormer")
    assert type(alone) is OVSegMaskFormer
    alone.load_state_dict(model.state_dict())
    model = ovseg(*key("LAMBDA", 0.0))
    model.load_state_dict(alone.state_dict())
    torch.testing.assert_close(alone([given])[0]["sem_seg"], model([given])[0]["sem_seg"])
    assert torch.equal(alone.segment([given])[0], model.segment([given])[0])


def test_unseen_classes_have_their_own_lambda(ovseg):
    model = ovseg(
        *key("LAMBDA", 0.0), *key("UNSEEN_LAMBDA", 1.0), "DATASETS.TRAIN", "('ovseg_test_words',)"
    )
    given = {**image_input(), "classes": ["Grass", "green ring"]}
    scores = model([given])[0]["sem_seg"]
    proposals, plain = model.propose(given), model.ovseg
    clip = plain.classifier(
        given["image"].float(), proposals.masks, ClassTexts(model.text_bank.embed(given["classes"]))
    )
    q = torch.where(clip.valid[:, None], clip.probs, 1.0)
    probs = torch.stack([proposals.probs[:, 0], q[:, 1]], dim=1)
    expected = torch.einsum("qk,qhw->khw", probs, proposals.masks)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="UNSEEN_LAMBDA is 0.5, and nothing says which classes"):
        ovseg(*key("UNSEEN_LAMBDA", 0.5))


def test_demo_mode_adds_others(ovseg):
    model = ovseg(*key("DEMO", True))
    given = {**image_input(), "classes": "red star"}
    assert model.vocabulary_of(given).names == ("red star", "others")
    assert model([given])[0]["sem_seg"].shape[0] == 2
    # Already in the vocabulary.
    again = {**given, "classes": model.vocabulary_of(given)}
    assert model.vocabulary_of(again).names == ("red star", "others")


# --- other mask sources


def test_felzenszwalb_masks_replace_the_maskformer(ovseg):
    model = ovseg(*key("PROPOSALS", "felzenszwalb"), "INPUT.MASKS.FELZENSZWALB.MIN_SIZE", "30")
    assert model.system is None
    given = image_input()
    proposals = model.propose(given)
    assert proposals.probs is None and proposals.masks.any(dim=0).all()
    names = model.ovseg.name_masks(
        given["image"].float(), proposals, ClassTexts(model.text_bank.embed(WORDS))
    )
    labels = model.segment([given])[0]
    for mask, name in zip(proposals.masks, names.argmax(dim=1), strict=True):
        assert set(labels[mask].tolist()) == {int(name)}
    with pytest.raises(ValueError, match="no MaskFormer to train; set MODEL.OVSEG.PROPOSALS"):
        model.train()(labelled((32, 32)))


def test_stored_masks_replace_the_maskformer(ovseg, tmp_path):
    masks = np.zeros((1, 64, 80), dtype=bool)
    masks[0, 10:40, 20:60] = True
    write_masks(tmp_path / "a.json", masks)
    model = ovseg(*key("PROPOSALS", "stored"), "INPUT.MASKS.FOLDER", str(tmp_path))
    given = image_input(file_name="b/a.jpg", height=64, width=80)
    proposed = model.propose(given).masks
    assert proposed.shape == (2, 32, 40)
    assert torch.equal(proposed[0], torch.from_numpy(masks[0, ::2, ::2]))
    assert torch.equal(proposed[1], ~proposed[0])
    assert model([given])[0]["sem_seg"].shape == (3, 64, 80)
    # Masks that are larger than their image.
    with pytest.raises(MaskFileError, match="64 x 80"):
        model([{**given, "height": 32, "width": 40}])
    with pytest.raises(MaskFileError, match="gone.json"):
        model([{**given, "file_name": "gone.jpg"}])


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (key("LAMBDA", 1.5), "LAMBDA is 1.5; it takes a share from 0 to 1"),
        (key("LAMBDA", -0.1), "LAMBDA is -0.1; it takes a share from 0 to 1"),
        (key("PROPOSALS", "sam"), "set MODEL.OVSEG.SAM_CHECKPOINT to a file"),
        (key("PROPOSALS", "stored"), "set INPUT.MASKS.FOLDER"),
        (key("PROPOSALS", "edges"), "PROPOSALS is 'edges'; it takes one of 'maskformer', 'sam'"),
        (key("CROP.FILL", "blue"), "FILL is 'blue'; it takes one of 'mean', 'zero', 'none'"),
        (key("CROP.BATCH_SIZE", 0), "BATCH_SIZE is 0; it takes a whole number from 1"),
        (key("PROMPT_DEPTH", 3), "depth is 3; give 0 for no prompts"),
        (key("MASKFORMER.IN_FEATURES", ["res9"]), "IN_FEATURES has 'res9', and the backbone gives"),
        (("MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead"), "is no head of a MaskFormer; set it to OVS"),
    ],
)
def test_bad_values(tiny_cfg, opts, words):
    with pytest.raises(ValueError, match=words):
        build_model(tiny_cfg(*OPTS, *opts))


def test_missing_sam_checkpoint_is_refused(tiny_cfg):
    with pytest.raises(FileNotFoundError, match="no SAM checkpoint 'gone.pth'"):
        build_model(tiny_cfg(*OPTS, *key("PROPOSALS", "sam"), *key("SAM_CHECKPOINT", "gone.pth")))


@torch.no_grad()
def test_scores_of_an_image_without_valid_masks(ovseg):
    model = ovseg()
    model.system.head.mask_network[-1].weight.zero_()
    model.system.head.mask_network[-1].bias.zero_()
    # Every pixel has the probability 1/2 in every mask.
    assert not (model.propose(image_input()).masks > 0.5).any()
    for threshold in (0.4, 0.6):
        model.ovseg.classifier.crop = CropOptions(threshold=threshold)
        scores = model([image_input()])[0]["sem_seg"]
        assert scores.isfinite().all() and scores.sum() > 0


# --- training


def test_losses_are_the_systems(ovseg):
    model, samples = ovseg().train(), labelled((32, 40), (24, 24))
    losses = model(samples)
    texts = model.text_bank.embed(WORDS)
    ids = [sample["sem_seg"].unique() for sample in samples]
    ids = [classes[classes >= 0] for classes in ids]
    masks = [
        torch.stack([sample["sem_seg"] == i for i in classes])
        for sample, classes in zip(samples, ids, strict=True)
    ]
    images = [sample["image"].float() for sample in samples]
    ignored = [sample["sem_seg"] < 0 for sample in samples]
    expected = model.system(images, ClassTexts(texts), ids, masks, ignored=ignored)
    torch.testing.assert_close(losses, expected)
    strict = ovseg(*key("MASKFORMER.LEAVE_OUT_IGNORED", False)).train()
    expected = strict.system(images, ClassTexts(texts), ids, masks)
    torch.testing.assert_close(strict(samples), expected)
    assert losses["loss_mask"] != expected["loss_mask"]
    assert not model.prompted.training and model.system.training


def test_unseen_classes_are_ignored_in_training(ovseg):
    train = ("DATASETS.TRAIN", "('ovseg_test_words',)", "INPUT.SEMANTIC.UNSEEN", "['grass']")
    model, (sample,) = ovseg(*train).train(), labelled((32, 40), low=0)
    sample["sem_seg"][:8] = 255
    sample["sem_seg"][8:16, :20], sample["sem_seg"][16:, :20] = 0, 2
    labels = sample["sem_seg"]
    texts = model.text_bank.embed(["red star", "blue dots"])
    masks, ignored = torch.stack([labels == 0, labels == 2]), (labels == 1) | (labels == 255)
    image = sample["image"].float()
    expected = model.system(
        [image], ClassTexts(texts), [torch.tensor([0, 1])], [masks], ignored=[ignored]
    )
    torch.testing.assert_close(model([sample]), expected)
    # Labels that the mapper has hidden give the same losses.
    hidden = {**sample, "sem_seg": labels.where(labels != 1, -1)}
    torch.testing.assert_close(model([hidden]), expected)
    with pytest.raises(ValueError, match="UNSEEN, dataset 'ovseg_test_words': 'sea' is neither"):
        ovseg(*train[:3], "['sea']")


def test_training_has_the_words_of_the_word_list(ovseg, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("crimson star\nlawn\nazure spots\n")
    (sample,) = labelled((32, 40), low=0)
    listed = ovseg("MODEL.TEXT.WORD_LIST", str(words)).train()
    texts = listed.text_bank.embed(["crimson star", "lawn", "azure spots"])
    ids = sample["sem_seg"].unique()
    masks = torch.stack([sample["sem_seg"] == i for i in ids])
    image = sample["image"].float()
    expected = listed.system([image], ClassTexts(texts), [ids], [masks], ignored=[masks[0] & False])
    torch.testing.assert_close(listed([sample]), expected)


def test_batch_without_objects_trains_and_warns_once(ovseg, caplog):
    model = ovseg().train()
    (full,) = labelled((32, 40), low=0)
    (empty,) = labelled((32, 40))
    empty["sem_seg"][:] = -1
    empty["file_name"] = "sea.png"
    model([full, empty])
    assert not caplog.records  # one of them has objects
    losses = model([empty])
    sum(losses.values()).backward()
    assert losses["loss_mask"] == 0 and losses["loss_ce"] > 0
    model([empty])
    (record,) = caplog.records
    assert "(sea.png) holds no pixel of a seen class" in record.getMessage()
    assert "INPUT.TRAIN_MAPPER pictures" in record.getMessage()


def test_training_refuses_invalid_samples(ovseg, toy_dataset):
    model = ovseg().train()
    with pytest.raises(ValueError, match="without sem_seg; set INPUT.TRAIN_MAPPER to semantic"):
        model([image_input()])
    other = toy_dataset("ovseg_toy_other_words", ["a", "b"])
    mixed = labelled((32, 32), (32, 32))
    mixed[1]["dataset_name"] = other
    with pytest.raises(ValueError, match="whose classes differ; train on datasets of the same"):
        model(mixed)
    strange = labelled((32, 32))
    strange[0]["sem_seg"][0, 0] = 9
    with pytest.raises(ValueError, match="hold 9, and its dataset has 3 classes; map them to 0..2"):
        model(strange)


# --- weights


def test_clip_weights_survive_loading(ovseg, tiny_opts, tmp_path):
    torch.manual_seed(3)
    adapted = load_clip(tiny_opts[3], "random")
    prompts = torch.randn(2, 16, 32)
    path = tmp_path / "adapted.safetensors"
    save_weights(adapted.model, path, dtype=torch.float32, mask_prompts=prompts)
    trained = ovseg()
    torch.nn.init.normal_(trained.system.no_object_embed)
    Checkpointer(trained, str(tmp_path)).save("trained")
    model = ovseg(*key("CLIP_WEIGHTS", path))
    Checkpointer(model).load(str(tmp_path / "trained.pth"))
    assert torch.equal(model.prompted.prompts, prompts)
    assert torch.equal(model.system.no_object_embed, trained.system.no_object_embed)
    own = model.prompted.tower.model.visual.conv1.weight
    assert torch.equal(own, adapted.model.visual.conv1.weight)
    assert not torch.equal(own, trained.prompted.tower.model.visual.conv1.weight)
    # Its checkpoint has the adapted CLIP, and needs no further file.
    Checkpointer(model, str(tmp_path)).save("both")
    again = ovseg(*key("PROMPT_DEPTH", 2))
    Checkpointer(again).load(str(tmp_path / "both.pth"))
    given = image_input()
    torch.testing.assert_close(again([given])[0]["sem_seg"], model([given])[0]["sem_seg"])


def test_clip_weights_takes_mask_adapted_clip(build, ovseg, tmp_path):
    adapted = build(
        *("MODEL.META_ARCHITECTURE", "MaskAdaptedCLIP", "MODEL.MASK_ADAPTED_CLIP.TRAIN", "both"),
        *("MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH", "2"),
    )
    torch.nn.init.normal_(adapted.system.prompted.tower.model.visual.conv1.weight)
    Checkpointer(adapted, str(tmp_path)).save("adapted")
    model = ovseg(*key("CLIP_WEIGHTS", tmp_path / "adapted.pth"))
    ours, theirs = model.prompted.state_dict(), adapted.system.prompted.state_dict()
    assert list(ours) == list(theirs) and "prompts" in ours
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_clip_weights_refuses_prompts_of_another_grid(tiny_cfg, tiny_opts, tmp_path):
    path = tmp_path / "adapted.safetensors"
    tower = load_clip(tiny_opts[3], "random")
    save_weights(tower.model, path, mask_prompts=torch.randn(1, 9, 32))
    with pytest.raises(ValueError, match=r"are \(1, 9, 32\), and this tower of 4 x 4 patches"):
        build_model(tiny_cfg(*OPTS, *key("CLIP_WEIGHTS", path)))


# --- runs


def run_words(folder):
    solver = {"IMS_PER_BATCH": 2, "MAX_ITER": 4, "BASE_LR": 0.001, "WARMUP_ITERS": 2}
    solver |= {"LR_SCHEDULER_NAME": "WarmupPolyLR", "CHECKPOINT_PERIOD": 2}
    return [
        *OPTS,
        *(
            "DATASETS.TRAIN",
            "('ovseg_shapes_train',)",
            "INPUT.TRAIN_MAPPER",
            "semantic",
            "INPUT.SEMANTIC.UNSEEN",
        ),
        *("['novel', 'withheld']", "INPUT.MIN_SIZE_TRAIN", "(48,)", "OUTPUT_DIR", str(folder)),
        *key("MASKFORMER.DROPOUT", 0.1),
        *(str(word) for k, v in solver.items() for word in (f"SOLVER.{k}", v)),
    ]


def test_segmenter_runs_ovseg(tiny_cfg):
    segment = Segmenter(tiny_cfg(*OPTS, "MODEL.WEIGHTS", "random"))
    pixels = image_input((20, 30))["image"].permute(1, 2, 0).numpy()
    result = segment(pixels, "red star, grass")
    assert result.labels.shape == (20, 30) and result.vocabulary.names == ("red star", "grass")
    demo = Segmenter(tiny_cfg(*OPTS, "MODEL.WEIGHTS", "random", *key("DEMO", True)))
    assert demo(pixels, "red star").vocabulary.names == ("red star", "others")
    with pytest.raises(ValueError, match="META_ARCHITECTURE OVSeg has no heat maps"):
        segment.heatmaps(pixels, "red star")


@pytest.mark.slow
def test_two_processes_train_like_one(tiny_opts, tmp_path):
    """Without batch norm, whose statistics differ between processes."""
    words = [
        *("--config-file", str(ROOT / "configs" / "ovseg.yaml"), *tiny_opts),
        *run_words(tmp_path),
        *("MODEL.BACKBONE.NAME", "OVSegCLIPBackbone"),
        *key("MASKFORMER.DROPOUT", 0.0),
        *("DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.MAX_IMAGES", "2"),
        *("TEST.OWN_WORDS", "True", "SOLVER.MAX_ITER", "3", "TEST.EVAL_PERIOD", "0"),
    ]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    hidden = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    last = {}
    for name, processes in (("one", 1), ("two", 2)):
        options = ("--num-gpus", str(processes), "--dist-url", "auto")
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "tools" / "train_net.py"), *words[:2], *options),
                *(*words[2:], "OUTPUT_DIR", str(tmp_path / name)),
            ],
            env={**os.environ, **hidden},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / name / "metrics.json").read_text().splitlines()
        last[name] = json.loads(lines[0])
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert results["ovseg_shapes_dev"]["images"] == 2
        assert "mIoU_base_novel_own_words" in results["ovseg_shapes_dev"]
    assert last["two"]["iteration"] == last["one"]["iteration"] == 2
    assert last["two"]["total_loss"] == pytest.approx(last["one"]["total_loss"], rel=1e-4)
