"""The tool of templates: what it chooses on the Shapes world, and bad input."""

import runpy
from pathlib import Path

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.engine.loading import load_model
from ovseg_d2.text import TextBank, read_word_templates

ROOT = Path(__file__).resolve().parents[2]
main = runpy.run_path(str(ROOT / "tools" / "choose_templates.py"), run_name="choose")["main"]
CONFIG = str(ROOT / "configs" / "maskclip.yaml")
FEW = ["DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.MAX_IMAGES", "2"]
FEW += ["DATALOADER.NUM_WORKERS", "0", "MODEL.DEVICE", "cpu"]
TEMPLATES = ["a photo of {}", "{}", "no {} at all"]


def test_choose_templates_of_lowest_entropy(tmp_path, capsys):
    path = tmp_path / "templates.json"
    templates = [word for template in TEMPLATES for word in ("--templates", template)]
    main(["--config-file", CONFIG, "--output", str(path), *templates, *FEW])
    chosen = read_word_templates(path)
    assert f"templates of {len(chosen)} words" in capsys.readouterr().out
    cfg = load_config(CONFIG, [*FEW, "MODEL.TEXT.WORD_TEMPLATES", str(path)])
    model, _ = load_model(cfg)
    names = model.vocabulary_of({"dataset_name": "ovseg_shapes_dev"}).names
    # By hand: the entropy of every patch, in a table by template and winner.
    table = {}
    loader = [sample for batch in _loader(cfg) for sample in batch]
    for template in TEMPLATES:
        embeds = TextBank(model.text_bank.tower, [template]).embed(names)
        for sample in loader:
            with torch.no_grad():
                cosines = model.maskclip(model.rgb_image(sample), embeds)[0].flatten(1)
            probs = (cosines * model.maskclip.scale).softmax(dim=0)
            entropies = torch.special.entr(probs).sum(dim=0).tolist()
            for entropy, winner in zip(entropies, probs.argmax(dim=0).tolist(), strict=True):
                table.setdefault(names[winner], {}).setdefault(template, []).append(entropy)
    assert {word: own[0] for word, own in chosen.items()} == {
        word: min(by, key=lambda t: sum(by[t]) / len(by[t])) for word, by in table.items()
    }
    assert {len(own) for own in chosen.values()} == {1}
    assert len({own for own in chosen.values()}) > 1
    # The model's own bank has them.
    word, (template,) = next((w, own) for w, own in chosen.items() if own != (TEMPLATES[0],))
    expected = TextBank(model.text_bank.tower, [template]).embed([word])
    torch.testing.assert_close(model.text_bank.embed([word]), expected)


def _loader(cfg):
    from ovseg_d2.data.loaders import build_test_loader

    return build_test_loader(cfg, "ovseg_shapes_dev")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--keep", "0", *FEW], "keep is 0"),
        (["--templates", "a photo", *FEW], "'a photo' is no template set"),
        (["--keep", "1", "DATASETS.TEST", "()"], "DATASETS.TEST is empty; name the dataset"),
    ],
)
def test_choose_templates_refuses(options, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        main(["--config-file", CONFIG, "--output", str(tmp_path / "t.json"), *options])
    assert not list(tmp_path.iterdir())
