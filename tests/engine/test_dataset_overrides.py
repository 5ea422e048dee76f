"""``TEST.DATASETS``: each test dataset is evaluated with its own settings, on the same weights."""

import argparse
import json

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.run import check_job

WORDS = ["red star", "grass", "blue dots"]
# Options that change the scores of a MaskCLIP.
OPTIONS = {
    "MODEL.MASKCLIP.WINDOW": "16",
    "MODEL.MASKCLIP.KEY_SMOOTHING": "1.0",
    "MODEL.MASKCLIP.PROMPT_DENOISING": "0.9",
    "MODEL.MASKCLIP.LOGIT_SCALE": "1.5",
    "MODEL.CLIP.LAST_BLOCK.ATTENTION": "full",
    "MODEL.TEXT.TEMPLATES": "['a photo of a {}.', '{} there']",
    "INPUT.MIN_SIZE_TEST": "40",
}


@pytest.fixture
def datasets(toy_dataset):
    """Register two datasets of the same images and classes."""
    return toy_dataset("ovseg_toy_first", WORDS), toy_dataset("ovseg_toy_second", WORDS)


def override(name, options):
    return [
        word for key, value in options.items() for word in (f"TEST.DATASETS.{name}.{key}", value)
    ]


def config(opts, datasets, folder, *more):
    test = ["DATASETS.TEST", repr(tuple(datasets)), "OUTPUT_DIR", str(folder / "output")]
    return load_config(None, [*opts, *test, *more])


def numbers(cfg, model):
    results = evaluate(cfg, model)
    results = results if len(cfg.DATASETS.TEST) > 1 else {cfg.DATASETS.TEST[0]: results}
    return {name: without_time(tasks["sem_seg"]) for name, tasks in results.items()}


def without_time(found):
    return {key: value for key, value in found.items() if key != "seconds"}


def scores(model, batched_input):
    torch.manual_seed(0)
    return model([batched_input])[0]["sem_seg"]


def an_input(name):
    image = torch.randint(0, 256, (3, 24, 32), generator=torch.Generator().manual_seed(1))
    return {"image": image.to(torch.uint8), "dataset_name": name}


@pytest.mark.parametrize("kind", ["MaskCLIP", "PixelCLIP", "CLIPPretrain"])
def test_dataset_is_evaluated_as_with_its_options_outside(kind, tiny_opts, datasets, tmp_path):
    first, second = datasets
    words = tmp_path / "words.txt"
    words.write_text("crimson star\nlawn\nazure spots\n")
    options = OPTIONS | {"MODEL.TEXT.WORD_LIST": str(words)}
    opts = [*tiny_opts, "MODEL.META_ARCHITECTURE", kind]
    opts += ["MODEL.SEM_SEG_HEAD.NAME", "OVSegPixelCLIPClusterHead"]
    cfg = config(opts, datasets, tmp_path, *override(second, options))
    model = build_model(cfg).eval()
    plain = config(opts, datasets, tmp_path)
    changed = config(opts, datasets, tmp_path, *(w for pair in options.items() for w in pair))
    other = build_model(changed).eval()
    other.load_state_dict(model.state_dict())
    found = numbers(cfg, model)
    assert found == {first: numbers(plain, model)[first], second: numbers(changed, other)[second]}
    assert set(json.loads((tmp_path / "output" / "results.json").read_text())) == set(datasets)
    assert torch.equal(
        scores(model.with_options(changed), an_input(second)), scores(other, an_input(second))
    )


# The logit scale is a factor for denoising alone.
@pytest.mark.parametrize("key", [key for key in OPTIONS if not key.endswith(("SCALE", "TEST"))])
def test_each_option_reaches_the_scores_and_no_weight_is_copied(key, tiny_opts, datasets, tmp_path):
    cfg = config(tiny_opts, datasets, tmp_path)
    model = build_model(cfg).eval()
    other = model.with_options(config(tiny_opts, datasets, tmp_path, key, OPTIONS[key]))
    batched_input = an_input(datasets[0])
    assert not torch.equal(scores(other, batched_input), scores(model, batched_input))
    pointers = [{p.data_ptr() for p in each.maskclip.tower.parameters()} for each in (model, other)]
    assert pointers[0] == pointers[1]
    with torch.no_grad():  # a training step of the model
        for parameter in model.parameters():
            parameter.mul_(1.5)
    trained = build_model(config(tiny_opts, datasets, tmp_path, key, OPTIONS[key])).eval()
    trained.load_state_dict(model.state_dict())
    assert torch.equal(scores(other, batched_input), scores(trained, batched_input))


def test_lambda_and_sweep_of_a_dataset(tiny_ovseg, toy_dataset, tmp_path):
    other = toy_dataset("ovseg_toy_lambdas", WORDS)
    names = ("DATASETS.TEST", f"('ovseg_toy_oracles', '{other}')")
    _, model = tiny_ovseg(*names)
    at = {lam: tiny_ovseg(*names, "MODEL.OVSEG.LAMBDA", lam)[0] for lam in ("0.7", "0.0")}
    expected = {lam: numbers(cfg, model.with_options(cfg)) for lam, cfg in at.items()}
    assert expected["0.7"][other] != expected["0.0"][other]
    options = {"MODEL.OVSEG.LAMBDA": "0.0", "TEST.LAMBDAS": "[0.7]"}
    cfg, _ = tiny_ovseg(*names, *override(other, options))
    found = numbers(cfg, model)
    assert found["ovseg_toy_oracles"] == expected["0.7"]["ovseg_toy_oracles"]
    swept = {key for key in found[other] if key.endswith("_lambda_0.7")}
    assert {k: v for k, v in found[other].items() if k not in swept} == expected["0.0"][other]
    at_other = pytest.approx(expected["0.7"][other]["mIoU"], abs=1e-4)
    assert found[other]["mIoU_lambda_0.7"] == at_other
    unseen = {"MODEL.OVSEG.UNSEEN_LAMBDA": "0.5"}
    with pytest.raises(ValueError, match=r"UNSEEN_LAMBDA is 0.5, and nothing says which classes"):
        evaluate(tiny_ovseg(*names, *override(other, unseen))[0], model)


def test_ceiling_of_a_dataset(tiny_ovseg, toy_dataset):
    other = toy_dataset("ovseg_toy_ceiling", WORDS)
    names = ("DATASETS.TEST", f"('ovseg_toy_oracles', '{other}')")
    cfg, model = tiny_ovseg(*names, *override(other, {"TEST.CEILING": "gt_labels"}))
    found, plain = numbers(cfg, model), numbers(tiny_ovseg(*names)[0], model)
    everywhere = numbers(tiny_ovseg(*names, "TEST.CEILING", "gt_labels")[0], model)
    assert found == {**plain, other: everywhere[other]} and everywhere[other] != plain[other]


def test_training_mode_and_set_vocabulary_stay(tiny_opts, datasets, tmp_path):
    changed = override(datasets[1], {"MODEL.MASKCLIP.WINDOW": "16"})
    cfg = config(tiny_opts, datasets, tmp_path, *changed)
    cfg.freeze()
    model = build_model(cfg).train()
    model.set_vocabulary(["a", "b", "c"])
    evaluate(cfg, model)
    assert all(module.training for module in model.modules())
    names = model.with_options(cfg).vocabulary_of({"dataset_name": datasets[1]}).names
    assert names == ("a", "b", "c")


def test_distributed_model_is_evaluated_with_the_options(tiny_opts, datasets, tmp_path):
    changed = override(datasets[1], OPTIONS)
    cfg = config(tiny_opts, datasets, tmp_path, *changed)
    model = build_model(cfg).eval()
    expected = numbers(cfg, model)
    next(model.parameters()).requires_grad_(True)  # DDP takes no frozen model
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert numbers(cfg, DistributedDataParallel(model)) == expected
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("where", ["dataset", "outside"])
def test_words_that_do_not_fit_are_refused_before_anything_is_evaluated(
    where, tiny_opts, toy_dataset, tmp_path
):
    first, second = toy_dataset("ovseg_toy_3", WORDS), toy_dataset("ovseg_toy_2", WORDS[:2])
    words = tmp_path / "words.txt"
    words.write_text("crimson star\nlawn\nazure spots\n")
    key = f"TEST.DATASETS.{second}." if where == "dataset" else ""
    cfg = config(tiny_opts, (first, second), tmp_path, f"{key}MODEL.TEXT.WORD_LIST", str(words))
    model = build_model(cfg).eval()
    with pytest.raises(
        ValueError, match=r"WORD_LIST has 3 classes and dataset 'ovseg_toy_2' has 2"
    ):
        evaluate(cfg, model)
    assert not (tmp_path / "output" / "results.json").exists()
    model.set_vocabulary(["a", "b"])
    assert evaluate(config(tiny_opts, [second], tmp_path), model)["sem_seg"]["images"] == 2


class Constant(nn.Module):
    """A model that is not of the plugin."""

    def forward(self, batched_inputs):
        return [{"sem_seg": torch.zeros(3, 24, 32)} for _ in batched_inputs]


def test_model_of_a_user_takes_keys_of_input_and_test_alone(tiny_opts, toy_dataset, tmp_path):
    name = toy_dataset("ovseg_toy_user", WORDS, sizes=[(24, 32), (24, 32)])
    one = override(name, {"TEST.MAX_IMAGES": "1"})
    assert numbers(config(tiny_opts, [name], tmp_path, *one), Constant())[name]["images"] == 1
    cfg = config(tiny_opts, [name], tmp_path, *override(name, {"MODEL.MASKCLIP.WINDOW": "8"}))
    with pytest.raises(ValueError, match="has keys of MODEL, and a Constant has no with_options"):
        evaluate(cfg, Constant())


def test_unknown_dataset_is_refused_and_one_that_is_not_tested_is_not(
    tiny_opts, datasets, tmp_path
):
    args = argparse.Namespace(eval_only=True, resume=False)
    first, second = datasets
    cfg = config(tiny_opts, [first], tmp_path, *override(second, OPTIONS))
    check_job(cfg, args)
    assert list(numbers(cfg, build_model(cfg).eval())) == [first]
    cfg = config(tiny_opts, [first], tmp_path, *override("ovseg_toy_frist", OPTIONS))
    for refuse in (lambda: check_job(cfg, args), lambda: evaluate(cfg, Constant())):
        with pytest.raises(ValueError, match="'ovseg_toy_frist' is not registered"):
            refuse()
