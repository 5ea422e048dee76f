"""Map correction through models, DefaultPredictor, Segmenter and an evaluation."""

import numpy as np
import pytest
import torch

from ovseg_d2.d2.engine import DefaultPredictor
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.masks import Felzenszwalb, write_masks
from ovseg_d2.ops import MapCorrection, correct_scores, mask_owners
from ovseg_d2.segmenter import Segmenter

WORDS = ["red star", "grass", "water", "sand"]


def key(name, value):
    return (f"MODEL.MAP_CORRECTION.{name}", str(value))


def image_of(height: int, width: int) -> torch.Tensor:
    """Two colours with noise, which felzenszwalb tells apart."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 30, (3, height, width), dtype=torch.uint8, generator=generator)
    image[0, :, width // 2 :] += 200
    return image


@pytest.mark.parametrize("architecture", ["MaskCLIP", "PixelCLIP"])
@pytest.mark.parametrize("rule", ["mode", "mean"])
def test_scores_and_labels_are_corrected(build, architecture, rule):
    options = ["MODEL.META_ARCHITECTURE", architecture]
    options += ["MODEL.SEM_SEG_HEAD.NAME", "OVSegPixelCLIPClusterHead"]
    plain = build(*options)
    model = build(*options, *key("SOURCE", "felzenszwalb"), *key("RULE", rule))
    image = image_of(40, 48)
    sample = {"image": image, "height": 60, "width": 72, "classes": WORDS}
    before = plain([sample])[0]
    assert list(before) == ["sem_seg"]
    owners = mask_owners(torch.from_numpy(Felzenszwalb()(image.permute(1, 2, 0).numpy())))
    assert owners.max() >= 1
    rows, columns = torch.arange(60) * 40 // 60, torch.arange(72) * 48 // 72
    owners = owners[rows[:, None], columns]
    expected = correct_scores(before["sem_seg"], MapCorrection(owners, rule))
    output = model([sample])[0]
    torch.testing.assert_close(output["sem_seg"], expected)
    assert torch.equal(output["uncorrected"], before["sem_seg"])
    assert torch.equal(model.segment([sample])[0], expected.argmax(dim=0))
    assert not torch.equal(output["sem_seg"], before["sem_seg"])


def test_stored_masks_have_the_size_of_their_file(build, tmp_path):
    masks = np.zeros((1, 60, 72), dtype=bool)
    masks[0, 10:41, 20:61] = True
    write_masks(tmp_path / "a.json", masks)
    model = build(*key("SOURCE", "stored"), "INPUT.MASKS.FOLDER", str(tmp_path))
    sample = {"image": image_of(40, 48), "file_name": "b/a.jpg", "height": 60, "width": 72}
    output = model([{**sample, "classes": WORDS}])[0]
    inside = torch.from_numpy(masks[0])
    assert torch.equal(output["map_correction"].owners, torch.where(inside, 0, -1))
    assert len(output["sem_seg"].argmax(dim=0)[inside].unique()) == 1
    assert torch.equal(output["sem_seg"][:, ~inside], output["uncorrected"][:, ~inside])


def test_predictor_and_segmenter_correct(tiny_cfg):
    cfg = tiny_cfg(*key("SOURCE", "felzenszwalb"), "INPUT.MIN_SIZE_TEST", "40")
    cfg.MODEL.TEXT.CLASSES = WORDS
    pixels = np.ascontiguousarray(image_of(40, 48).permute(1, 2, 0).numpy())
    masks = Felzenszwalb()(pixels)
    torch.manual_seed(0)  # both have the same random weights
    predicted = DefaultPredictor(cfg)(pixels[..., ::-1])["sem_seg"].argmax(dim=0).numpy()
    torch.manual_seed(0)
    labels = Segmenter(cfg)(pixels, WORDS).labels
    assert np.array_equal(labels, predicted)
    assert all(len(np.unique(labels[mask])) == 1 for mask in masks)


def test_ovseg_is_refused(tiny_cfg):
    options = ("MODEL.META_ARCHITECTURE", "OVSeg", *key("SOURCE", "felzenszwalb"))
    with pytest.raises(ValueError, match="OVSeg names whole masks already"):
        tiny_cfg(*options)


@pytest.mark.parametrize(
    ("source", "words"),
    [("sam", "set MODEL.OVSEG.SAM_CHECKPOINT"), ("stored", "INPUT.MASKS.FOLDER")],
)
def test_sources_say_what_they_need(tiny_cfg, source, words):
    with pytest.raises(ValueError, match=words):
        build_model(tiny_cfg(*key("SOURCE", source)))
