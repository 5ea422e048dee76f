"""Groups of parameters, the optimizers a config describes, and the bound on all gradients."""

import math

import open_clip
import pytest
import torch
from torch import nn

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.engine import build_optimizer
from ovseg_d2.engine.optimizer import parameter_groups


class Model(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(4, 3)
        self.convolution = nn.Conv2d(3, 2, 2)
        self.norm = nn.LayerNorm(3)
        self.words = nn.Embedding(5, 4)
        self.positional_embedding = nn.Parameter(torch.randn(7, 4))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Parameter(torch.randn(2, 2), requires_grad=False)
        self.same_matrix = self.matrix  # shared, and still counted once


def names_of(model: nn.Module, group: dict) -> set[str]:
    found = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


def cfg_of(**solver: object) -> CfgNode:
    cfg = load_config(None, ["MODEL.DEVICE", "cpu"])
    for key, value in solver.items():
        assert key in cfg.SOLVER
        cfg.SOLVER[key] = value
    return cfg


def test_only_matrices_decay():
    model = Model()
    groups = parameter_groups(model, lr=0.1, weight_decay=0.2, weight_decay_vectors=0.01)
    matrices, vectors = groups
    assert names_of(model, matrices) == {"matrix.weight", "convolution.weight"}
    assert names_of(model, vectors) == {
        "matrix.bias",
        "convolution.bias",
        "norm.weight",
        "norm.bias",
        "words.weight",
        "positional_embedding",
        "scale",
    }
    assert (matrices["lr"], matrices["weight_decay"]) == (0.1, 0.2)
    assert (vectors["lr"], vectors["weight_decay"]) == (0.1, 0.01)


def test_each_trainable_parameter_is_in_one_group(tiny_clip_config):
    model = open_clip.CLIP(**tiny_clip_config)
    model.visual.conv1.requires_grad_(False)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.2, weight_decay_vectors=0.0)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    trainable = {n for n, parameter in model.named_parameters() if parameter.requires_grad}
    assert set().union(*(names_of(model, group) for group in groups)) == trainable
    spared = names_of(model, groups[1])
    for name in (
        "positional_embedding",
        "visual.positional_embedding",
        "visual.class_embedding",
        "token_embedding.weight",
        "logit_scale",
        "ln_final.weight",
        "visual.transformer.resblocks.0.attn.in_proj_bias",
    ):
        assert name in spared
    for name in ("text_projection", "visual.proj", "transformer.resblocks.1.attn.in_proj_weight"):
        assert name in names_of(model, groups[0])


@pytest.mark.parametrize(
    ("module", "count"), [(nn.Linear(2, 2, bias=False), 1), (nn.Linear(2, 2), 2)]
)
def test_groups_without_parameters_are_left_out(module, count):
    groups = parameter_groups(module, lr=0.1, weight_decay=0.2, weight_decay_vectors=0.0)
    assert len(groups) == count
    assert all(group["params"] for group in groups)


def test_nothing_to_train():
    with pytest.raises(ValueError, match="Linear has no trainable parameters; nothing to train"):
        build_optimizer(cfg_of(), nn.Linear(2, 2).requires_grad_(False))


def test_lr_multipliers_scale_rates_below_a_name():
    model = nn.ModuleDict({"tower": Model(), "tower2": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    cfg = cfg_of(BASE_LR=0.1, WEIGHT_DECAY=0.2, WEIGHT_DECAY_VECTORS=0.01)
    # A module, a parameter in it, and one that is not trained at all.
    cfg.SOLVER.LR_MULTIPLIERS = [["tower", 0.5], ["tower.matrix.bias", 3], ["tower.frozen", 7.0]]
    groups = build_optimizer(cfg, model).param_groups
    rates = {name: group["lr"] for group in groups for name in names_of(model, group)}
    decays = {name: group["weight_decay"] for group in groups for name in names_of(model, group)}
    assert sum(len(group["params"]) for group in groups) == len(rates) == 13
    for name, rate in rates.items():
        expected = 0.1 if not name.startswith("tower.") else 0.05
        expected = 0.1 * 3 if name == "tower.matrix.bias" else expected
        assert rate == pytest.approx(expected), name
    assert decays["tower.matrix.weight"] == decays["head.weight"] == 0.2
    assert decays["tower.norm.weight"] == decays["tower.matrix.bias"] == decays["head.bias"] == 0.01


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            ["matrx", 1.0],
            "names 'matrx', and Model has no parameter there; its first is 'positional_embedding'",
        ),
        (["mat", 1.0], "names 'mat', and Model has no parameter there"),
        (["matrix"], r"has the entry \['matrix'\]; write each module once"),
        (["matrix", -1.0], "with a factor of at least 0"),
        (["matrix", "x"], "with a factor of at least 0"),
        (3, "has the entry 3"),
        (["", 2.0], r"has the entry \['', 2.0\]"),
    ],
)
def test_build_optimizer_refuses_bad_multipliers(entry, words):
    cfg = cfg_of()
    cfg.SOLVER.LR_MULTIPLIERS = [entry]
    with pytest.raises(ValueError, match=words):
        build_optimizer(cfg, Model())


def test_adamw_options_come_from_the_config():
    cfg = cfg_of(OPTIMIZER="ADAMW", BASE_LR=0.3, WEIGHT_DECAY=0.2, WEIGHT_DECAY_VECTORS=0.1)
    cfg.SOLVER.BETAS, cfg.SOLVER.EPS = [0.8, 0.7], 1e-3
    optimizer = build_optimizer(cfg, Model())
    assert isinstance(optimizer, torch.optim.AdamW)
    for group, decay in zip(optimizer.param_groups, (0.2, 0.1), strict=True):
        assert (group["lr"], group["weight_decay"]) == (0.3, decay)
        assert (group["betas"], group["eps"]) == ((0.8, 0.7), 1e-3)


def test_sgd_options_come_from_the_config():
    cfg = cfg_of(OPTIMIZER="SGD", BASE_LR=0.3, MOMENTUM=0.5, NESTEROV=True, WEIGHT_DECAY=0.2)
    optimizer = build_optimizer(cfg, Model())
    assert isinstance(optimizer, torch.optim.SGD)
    for group, decay in zip(optimizer.param_groups, (0.2, 0.0), strict=True):
        assert (group["lr"], group["weight_decay"]) == (0.3, decay)
        assert (group["momentum"], group["nesterov"]) == (0.5, True)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="SOLVER.OPTIMIZER 'ADAM' is not one of ADAMW, SGD"):
        build_optimizer(cfg_of(OPTIMIZER="ADAM"), Model())


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name != "words.weight":  # as if no word had occurred
            parameter.grad = torch.randn_like(parameter)
            found[name] = parameter.grad.clone()
    return found


@pytest.mark.parametrize("kind", ["SGD", "ADAMW"])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_gradient_bound_is_over_all_gradients(kind, max_norm):
    model = Model()
    optimizer = build_optimizer(cfg_of(OPTIMIZER=kind, MAX_GRAD_NORM=max_norm), model)
    before = gradients(model)
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in before.values()))
    assert 0.5 < norm < 1000
    optimizer.step()
    factor = min(1.0, max_norm / norm)
    for name, parameter in model.named_parameters():
        if name in before:
            torch.testing.assert_close(parameter.grad, before[name] * factor, rtol=1e-5, atol=1e-7)


def test_bounded_steps_equal_clip_grad_norm():
    models = [Model(), Model()]
    models[1].load_state_dict(models[0].state_dict())
    bounded = build_optimizer(cfg_of(MAX_GRAD_NORM=0.5, BASE_LR=0.1), models[0])
    plain = build_optimizer(cfg_of(BASE_LR=0.1), models[1])
    # Hooks belong to the optimizer and not to its state: a resumed run is bounded too.
    bounded.load_state_dict(bounded.state_dict())
    for _ in range(3):
        for model in models:
            gradients(model)
        bounded.step()
        nn.utils.clip_grad_norm_(models[1].parameters(), 0.5)
        plain.step()
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_no_bound_keeps_gradients():
    model = Model()
    optimizer = build_optimizer(cfg_of(), model)
    before = gradients(model)
    optimizer.step()
    for name, parameter in model.named_parameters():
        if name in before:
            assert torch.equal(parameter.grad, before[name])


@pytest.mark.parametrize("max_norm", [0.0, 0.001])
def test_gradient_bound_and_detectron2_clipping(max_norm):
    model = Model()
    cfg = cfg_of(OPTIMIZER="SGD", BASE_LR=1.0, MOMENTUM=0.0, WEIGHT_DECAY=0.0)
    cfg.SOLVER.MAX_GRAD_NORM = max_norm
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "value"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.01
    optimizer = build_optimizer(cfg, model)
    gradients(model)
    model.words.weight.grad = torch.zeros_like(model.words.weight)
    old = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    moved = torch.cat([(p.detach() - old[n]).flatten() for n, p in model.named_parameters()])
    assert moved.abs().max() <= 0.01 + 1e-6
    if max_norm:
        assert moved.norm().item() == pytest.approx(max_norm, rel=1e-2)
    else:
        assert moved.abs().max().item() == pytest.approx(0.01, abs=1e-5)
