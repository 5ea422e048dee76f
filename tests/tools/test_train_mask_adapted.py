"""MaskAdaptedCLIP through the training tool: pairs in, accuracies out; kills and processes."""

import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_d2.data import shapes
from ovseg_d2.masks import MaskPair, encode_masks, masks_of_labels, write_pairs

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "train_net.py"
WORKER = ROOT / "tests" / "engine" / "train_worker.py"
main = runpy.run_path(str(TOOL), run_name="train_net")["main"]
worker = runpy.run_path(str(WORKER), run_name="train_worker")


@pytest.fixture
def keys(tmp_path, tiny_opts) -> list[str]:
    """Keys and values of four steps on some pairs, one of them broken."""
    pairs = []
    for index in range(6):
        name = f"shapes://train/0/{index}"
        labels = shapes.read_labels(name)
        for rle, number in zip(
            encode_masks(masks_of_labels(labels)), np.unique(labels), strict=True
        ):
            pairs.append(MaskPair(name, rle, shapes.CLASSES[number]))
    larger = encode_masks(np.ones((1, 200, 200), dtype=bool))[0]
    pairs.insert(1, MaskPair("shapes://train/0/0", larger, "dog"))
    write_pairs(tmp_path / "pairs.jsonl", pairs, {})
    solver = {"IMS_PER_BATCH": 4, "MAX_ITER": 4, "BASE_LR": 0.01, "CHECKPOINT_PERIOD": 2}
    return [
        *tiny_opts,
        *("MODEL.META_ARCHITECTURE", "MaskAdaptedCLIP", "MODEL.MASK_ADAPTED_CLIP.TRAIN", "both"),
        *("MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH", "2", "MODEL.MASK_ADAPTED_CLIP.OFFICIAL", "True"),
        *("INPUT.TRAIN_MAPPER", "pairs", "DATASETS.TRAIN", f"('{tmp_path}/pairs.jsonl',)"),
        *("DATASETS.TEST", "('ovseg_shapes_dev',)", "TEST.TASK", "mask_crops"),
        *("TEST.MAX_IMAGES", "3", "OUTPUT_DIR", str(tmp_path / "output")),
        *(str(word) for key, value in solver.items() for word in (f"SOLVER.{key}", value)),
    ]


def test_train_and_evaluate(keys, tmp_path):
    main([*keys, "TEST.EVAL_PERIOD", "2"])
    output = tmp_path / "output"
    numbers = json.loads((output / "results.json").read_text())["ovseg_shapes_dev"]
    assert numbers["images"] == 3 and numbers["masks"] >= 3
    assert 0 <= numbers["accuracy"] <= numbers["accuracy_top5"] <= 100
    assert "class_accuracy_base_novel" in numbers and not [key for key in numbers if "-" in key]
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    measured = [line["iteration"] for line in lines if "mask_crops/accuracy" in line]
    assert measured[0] == 1 and (output / "scores.png").is_file()
    (output / "results.json").unlink()
    weights = ("MODEL.WEIGHTS", str(output / "model_final.pth"))
    main(["--eval-only", *keys, *weights])
    again = json.loads((output / "results.json").read_text())["ovseg_shapes_dev"]
    same = ("accuracy", "accuracy_top5", "class_accuracy", "masks")
    assert [again[name] for name in same] == [numbers[name] for name in same]
    # A second stage starts from the first one's weights, prompts or none.
    stage = ["MODEL.MASK_ADAPTED_CLIP.TRAIN", "image", "MODEL.MASK_ADAPTED_CLIP.PROMPT_DEPTH", "0"]
    main([*keys, *weights, *stage, "OUTPUT_DIR", str(tmp_path / "second"), "SOLVER.MAX_ITER", "1"])
    first, second = (
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"]
        for name in ("output", "second")
    )
    text = "system.prompted.tower.model.token_embedding.weight"
    assert torch.equal(first[text], second[text]) and "system.prompted.prompts" not in second


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("DATASETS.TRAIN", "('gone.jsonl',)"), "gone.jsonl: there is no such file; make it with"),
        (("TEST.TASK", "crops"), "TEST.TASK is 'crops'; it takes one of"),
        (
            ("DATASETS.TRAIN", "('ovseg_shapes_dev',)"),
            "its entry has no mask and noun under 'pair'",
        ),
    ],
)
def test_bad_input_is_one_sentence(keys, more, told):
    with pytest.raises(SystemExit) as end:
        main([*keys, *more])
    assert end.value.code.startswith("error: ") and told in end.value.code


@pytest.mark.slow
def test_run_killed_while_saving_repeats_the_uninterrupted_one(keys, tmp_path, environment):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keys = [*keys, "DATASETS.TEST", "()", "SOLVER.MAX_ITER", "6"]
    words = [sys.executable, str(WORKER), str(tmp_path / "parts.txt"), "3", *keys]
    killed = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in (tmp_path / "output").glob("*.pth")] == ["model_0000001.pth"]
    trainer = worker["train"](keys, tmp_path / "parts.txt", resume=True)
    assert trainer.start_iter == 2
    whole = [*keys, "OUTPUT_DIR", str(tmp_path / "whole")]
    worker["train"](whole, tmp_path / "whole.txt", resume=False)
    torch.set_num_threads(threads)
    expected = worker["read_record"](tmp_path / "whole.txt")
    assert sorted(expected) == list(range(6))
    assert worker["read_record"](tmp_path / "parts.txt") == expected


@pytest.mark.slow
def test_two_processes_train_like_one(keys, tmp_path, environment):
    two = [*keys, "OUTPUT_DIR", str(tmp_path / "two")]
    words = [sys.executable, str(TOOL), "--num-gpus", "2", "--dist-url", "auto", *two]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    main([*keys, "OUTPUT_DIR", str(tmp_path / "one")])
    last = {
        name: json.loads((tmp_path / name / "metrics.json").read_text().splitlines()[0])
        for name in ("one", "two")
    }
    assert last["two"]["total_loss"] == pytest.approx(last["one"]["total_loss"], rel=1e-3)
    results = [
        json.loads((tmp_path / name / "results.json").read_text())["ovseg_shapes_dev"]
        for name in ("one", "two")
    ]
    assert results[0]["masks"] == results[1]["masks"] and results[1]["images"] == 3
