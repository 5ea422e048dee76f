"""Ceilings against values worked by hand and a slow oracle."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.clip import LastBlock, load_clip
from ovseg_d2.data import shapes
from ovseg_d2.engine.ceilings import PatchCeiling, TrueMaskCeiling, patch_shares, with_ceiling
from ovseg_d2.plugin import MaskCLIP
from ovseg_d2.plugin.inputs import InputReader
from ovseg_d2.systems import MaskCLIP as MaskCLIPSystem
from ovseg_d2.text import TextBank
from ovseg_d2.vocab import Vocabulary


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    tower = load_clip("ShapesCLIP", "random")
    system, words = MaskCLIPSystem(tower), Vocabulary.from_names(shapes.CLASSES)
    inputs = InputReader(TextBank(tower), vocabulary=words)
    return MaskCLIP(system=system, maskclip=system, inputs=inputs).eval()


def scene_input(index):
    name = shapes.format_name("val", 0, index)
    image = torch.from_numpy(shapes.read_image(name).copy()).permute(2, 0, 1)
    return {"file_name": name, "sem_seg_file_name": name, "image": image}


def test_patch_shares_by_hand():
    labels = torch.tensor([[0, 0, 1], [0, 1, 1], [255, 2, 2]])
    shares = patch_shares(labels, 3, (2, 2))
    # The second row and column of patches hang over; what lies outside counts for no class.
    expected = torch.tensor(
        [[[0.75, 0.0], [0.0, 0.0]], [[0.25, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.25, 0.25]]]
    )
    torch.testing.assert_close(shares, expected)


def test_patch_ceiling_is_wrong_only_near_borders(model):
    each = scene_input(3)
    labels = torch.from_numpy(shapes.read_labels(each["file_name"]).astype(np.int64))
    found = PatchCeiling(model)([each])[0]["sem_seg"].argmax(0)
    wrong = found != labels
    assert 0 < wrong.float().mean() < 0.2
    # Two patches away from any other class nothing can be wrong.
    one_hot = F.one_hot(labels, len(shapes.CLASSES)).permute(2, 0, 1).float()
    far = 2 * model.maskclip.tower.patch_size[0]
    near = F.avg_pool2d(one_hot[None], 2 * far + 1, stride=1, padding=far, count_include_pad=False)[
        0
    ]
    pure = near.max(0).values == 1
    assert pure.any()
    assert not wrong[pure].any()


def test_true_masks_take_the_class_nearest_to_their_mean(model):
    each = scene_input(1)
    labels = shapes.read_labels(each["file_name"])
    found = TrueMaskCeiling(model)([each])[0]["sem_seg"].argmax(0).numpy()
    tower = model.maskclip.tower
    with torch.no_grad():
        feats = tower.dense_feats(tower.normalize(each["image"].float()[None]))[0]
        texts = model.class_texts(each).embeds
    present = np.unique(labels)
    assert len(present) > 1
    for class_id in present:
        mask = labels == class_id
        total = torch.zeros(tower.embed_dim)
        side = tower.patch_size[0]
        for i in range(feats.shape[1]):
            for j in range(feats.shape[2]):
                cell = mask[side * i : side * (i + 1), side * j : side * (j + 1)]
                total += float(cell.mean()) * feats[:, i, j]
        expected = int((texts @ F.normalize(total, dim=0)).argmax())
        assert set(np.unique(found[mask])) == {expected}


def test_true_masks_of_a_model_with_a_guide(model):
    block = LastBlock(attention="affinity")
    system = MaskCLIPSystem(
        model.maskclip.tower, last_block=block, guide=lambda x: F.avg_pool2d(x, 6) + 1
    )
    guided = MaskCLIP(system=system, maskclip=system, inputs=model.inputs).eval()
    each = scene_input(3)
    labels = torch.from_numpy(shapes.read_labels(each["file_name"]).astype(np.int64))
    found = TrueMaskCeiling(guided)([each])[0]["sem_seg"].argmax(0)
    assert found.shape == labels.shape
    assert all(len(found[labels == label].unique()) == 1 for label in labels.unique())


def test_with_ceiling(model):
    assert with_ceiling("", model) is model
    assert isinstance(with_ceiling("patch", model), PatchCeiling)
    with pytest.raises(
        ValueError, match=r"TEST\.CEILING 'roof' is not one of patch, gt_masks, which MaskCLIP"
    ):
        with_ceiling("roof", model)
    with pytest.raises(ValueError, match="patches of MaskCLIP, which Identity does not have"):
        with_ceiling("patch", torch.nn.Identity())
