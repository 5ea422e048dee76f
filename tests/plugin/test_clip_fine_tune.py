"""CLIPFineTune through detectron2: head, encoder and mapper, training, and bad values."""

import pytest
import torch

from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.ops import UNLABELLED
from ovseg_d2.plugin import CLIPFineTune

OPTS = (
    *("MODEL.META_ARCHITECTURE", "CLIPFineTune", "MODEL.BACKBONE.NAME", "OVSegCLIPBackbone"),
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['clip_tokens']", "MODEL.DENSE_HEAD.DILATIONS", "[1, 2]"),
    *("INPUT.SEMANTIC.UNSEEN", "['sand']"),
)
NO_HEAD = (
    *("MODEL.SEM_SEG_HEAD.NAME", "OVSegNoHead"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['clip_dense']"),
)
TRAIN = ("DATASETS.TRAIN", "('ovseg_shapes_train',)", "INPUT.SEMANTIC.UNSEEN", "['novel']")
SEMANTIC = ("INPUT.TRAIN_MAPPER", "semantic")
FROZEN = ("MODEL.CLIP_BACKBONE.FROZEN", "True")
MAPPER = ("MODEL.FINE_TUNE.MAPPER", "linear")
WORDS = ["red star", "grass", "sand"]
ENCODER = "system.segmenter.network.backbone.tower.model.visual."


@pytest.fixture
def tuned(build):
    """Give a function from further keys and values to a tiny baseline in evaluation mode."""
    return lambda *opts: build(*OPTS, *opts)


def batch(size=(32, 32)):
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(size).long()
    labels[:16] = 1
    labels[:4] = UNLABELLED
    return [
        {
            "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator),
            "sem_seg": labels.clone(),
            "classes": WORDS,
        }
        for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("opts", "head", "encoder", "mapper"),
    [
        ((), True, True, False),
        (FROZEN, True, False, False),
        ((*FROZEN, *MAPPER), True, False, True),
        (MAPPER, True, True, True),
        (NO_HEAD, False, True, False),
        ((*NO_HEAD, *FROZEN, *MAPPER), False, False, True),
    ],
)
def test_head_encoder_and_mapper_train_separately(tuned, opts, head, encoder, mapper):
    model = tuned(*opts)
    assert META_ARCH_REGISTRY.get("CLIPFineTune") is type(model) is CLIPFineTune
    model.train()(batch())["loss_sem_seg"].backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in model.named_parameters() if p.grad is not None}
    assert any(name.startswith("system.segmenter.network.head.") for name in trained) == head
    assert any(name.startswith(ENCODER) for name in trained) == encoder
    assert any("classifier.mapper" in name for name in trained) == mapper


def test_untrained_model_without_head_is_maskclip(tuned, build):
    """Without a head, and with cosines at the tower's scale, scores before training are equal."""
    model, maskclip = tuned(*NO_HEAD, "MODEL.FINE_TUNE.LOGIT_SCALE", "1.0"), build()
    maskclip.system.tower.load_state_dict(
        model.system.segmenter.network.backbone.tower.state_dict()
    )
    inputs = [{"image": batch()[0]["image"], "classes": WORDS}]
    torch.testing.assert_close(model(inputs)[0]["sem_seg"], maskclip(inputs)[0]["sem_seg"])


def test_text_tower_of_other_backbones_is_frozen(tuned):
    model = tuned(
        *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res5']"),
    )
    assert not any(p.requires_grad for p in model.text_tower.parameters())
    model.train()(batch())["loss_sem_seg"].backward()
    assert tuned().text_tower is None


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        ((*NO_HEAD, *FROZEN), "nothing is to be trained"),
        (
            ("MODEL.FINE_TUNE.MAPPER", "deep"),
            "MAPPER is 'deep'; it takes one of 'none', 'linear', 'mlp'",
        ),
        (("MODEL.FINE_TUNE.LOGIT_SCALE", "-1.0"), "LOGIT_SCALE is -1.0; it takes a number from 0"),
        (("DATASETS.TRAIN", "('ovseg_shapes_train',)"), "'sand' is neither"),
        ((*TRAIN, "INPUT.TRAIN_MAPPER", "pictures"), "CLIPFineTune is trained on them; set it to"),
        (
            (*TRAIN, *SEMANTIC, "INPUT.SEMANTIC.ONLY_IGNORED", "True"),
            "ONLY_IGNORED True hides the labels of all classes",
        ),
        (
            (
                *("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
                *("INPUT.CROP.SIZE", "[32, 36]"),
            ),
            "the network's stride of 8 does not divide it",
        ),
    ],
)
def test_bad_values(tiny_cfg, opts, words):
    opts = (*OPTS, *opts)
    if words == "'sand' is neither":
        opts = (*opts, "INPUT.SEMANTIC.UNSEEN", "['sand', 'cow']")
        words = "'cow' is neither one of the 80 classes"
    with pytest.raises(ValueError, match=words):
        build_model(tiny_cfg(*opts))


def test_training_refuses_unseen_and_missing_labels(tuned):
    model = tuned().train()
    samples = batch()
    samples[0]["sem_seg"][0] = 2
    with pytest.raises(ValueError, match=r"unseen classes \[2\]"):
        model(samples)
    with pytest.raises(ValueError, match="without sem_seg"):
        model([{"image": sample["image"], "classes": WORDS} for sample in samples])
    samples[0]["sem_seg"][0] = 9
    samples[0]["file_name"] = "a.png"
    with pytest.raises(ValueError, match=r"the labels of a.png hold 9, and its dataset has 3"):
        model(samples)
