"""What a trained OVSeg proposes, as masks."""

import numpy as np
import pytest
import torch

from ovseg_d2.data.mappers import TestMapper
from ovseg_d2.masks import read_info, read_masks
from ovseg_d2.prepare.mask_job import plan_job
from ovseg_d2.prepare.proposal_masks import ProposalMasks, build_source
from ovseg_d2.systems import MaskProposals

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture
def trained(tiny_ovseg, tmp_path):
    """A config file and a checkpoint of a tiny OVSeg, and the model."""
    cfg, model = tiny_ovseg()
    (tmp_path / "ovseg.yaml").write_text(cfg.dump())
    torch.save({"model": model.state_dict()}, tmp_path / "ovseg.pth")
    options = {"config": str(tmp_path / "ovseg.yaml"), "weights": str(tmp_path / "ovseg.pth")}
    return options, cfg, model


def test_masks_are_ordered_by_score(trained):
    options, cfg, model = trained
    mapper = TestMapper.from_config(cfg)
    found = model.propose(mapper.prepare(IMAGE))
    scores = found.probs.sum(dim=1)
    middle = float(scores.median())
    masks = build_source("maskformer", {**options, "score": middle, "threshold": 0.3})(IMAGE)
    order = [i for i in scores.argsort(descending=True).tolist() if scores[i] >= middle]
    expected = [(found.masks[i] > 0.3).numpy() for i in order]
    expected = [each for each in expected if each.any()]
    assert 0 < len(expected) < len(scores)
    assert masks.dtype == bool and np.array_equal(masks, np.stack(expected))


def test_masks_have_the_size_of_the_image(trained):
    _, cfg, model = trained
    cfg.INPUT.MIN_SIZE_TEST = 48
    masks = ProposalMasks(model, TestMapper.from_config(cfg), score=0.0, threshold=0.0)(IMAGE)
    assert masks.shape == (6, 24, 32) and masks.all()


def test_no_mask_above_the_score(trained):
    _, cfg, _ = trained

    class Unsure(torch.nn.Module):
        def propose(self, batched_input):
            return MaskProposals(torch.ones(2, 24, 32), torch.full((2, 3), 0.16))

    mapper = TestMapper.from_config(cfg)
    masks = ProposalMasks(Unsure(), mapper)(IMAGE)
    assert masks.shape == (0, 24, 32) and masks.dtype == bool
    assert ProposalMasks(Unsure(), mapper, score=0.47)(IMAGE).shape == (2, 24, 32)


def test_masks_without_scores_are_kept(tiny_ovseg):
    cfg, model = tiny_ovseg("MODEL.OVSEG.PROPOSALS", "felzenszwalb")
    masks = ProposalMasks(model, TestMapper.from_config(cfg), score=1.0)(IMAGE)
    assert masks.any(axis=0).all()


def test_mask_job_writes_proposals(trained, tmp_path):
    options, _, _ = trained
    options = {**options, "score": 0.0, "threshold": 0.0}
    job = plan_job(["shapes://dev/0/3-4"], "maskformer", options, tmp_path / "masks")
    job.run(device="cpu")
    assert job.missing() == []
    assert read_masks(job.paths[0], (96, 96)).shape == (6, 96, 96)
    assert read_info(job.paths[0]) == {"source": "maskformer", **options}


def test_build_source_refuses_bad_options(trained):
    options, _, _ = trained
    with pytest.raises(ValueError, match="'nope' is unknown; choose one of shapes, .*, maskformer"):
        build_source("nope", {})
    with pytest.raises(ValueError, match="'maskformer' needs the option 'weights'; give it"):
        build_source("maskformer", {})
    with pytest.raises(FileNotFoundError, match=r"gone\.pth' does not exist"):
        build_source("maskformer", {**options, "weights": "gone.pth"})
    with pytest.raises(ValueError, match="score is 1.5; give a number from 0 to 1"):
        build_source("maskformer", {**options, "score": 1.5})
    with pytest.raises(ValueError, match="MaskCLIP proposes no masks; give a config of OVSeg"):
        build_source("maskformer", {**options, "config": "configs/maskclip.yaml"})
