"""A user's own dataset: five images of odd sizes and three classes, registered in a module.

Every training config runs on it as it is: the command line names the dataset and its module, and
makes the training short.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.masks import read_pairs

ROOT = Path(__file__).resolve().parents[2]
MODULE = "ovseg_own_photos"
SIZES = ((37, 53), (41, 29), (64, 48), (30, 71), (45, 45))
SOURCE = """
from pathlib import Path

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog

FOLDER = Path({folder!r})


def load(captions):
    return [
        {{
            "file_name": str(FOLDER / "images" / f"{{number}}.png"),
            "sem_seg_file_name": str(FOLDER / "labels" / f"{{number}}.png"),
            **({{"captions": ["a tree under the sky", "a red car"]}} if captions else {{}}),
        }}
        for number in range(5)
    ]


DatasetCatalog.register("own_photos", lambda: load(False))
DatasetCatalog.register("own_captions", lambda: load(True))
for name in ("own_photos", "own_captions"):
    MetadataCatalog.get(name).set(
        stuff_classes=["sky", "tree, bush", "car"], ignore_label=255, evaluator_type="sem_seg"
    )
"""
# What is said of a config's settings that fit the Shapes world alone.
NO_SETS = "has no class sets, so that INPUT.SEMANTIC.UNSEEN"
CONFIGS = {
    "clip": "are resized to that; INPUT.CAPTION_CROP.SIZE names another",
    "clip_short": "",
    "masked_distill_clip": "",
    "maskclip_plus": "are padded at the bottom and right",
    "maskclip_plus_zero_shot": NO_SETS,
    "finetune_baseline": NO_SETS,
    "ovseg": NO_SETS,
    "pixelclip": "masks of all other images are made by felzenszwalb",
    "ovseg_clip": "has no mask-category pairs: the masks and names of its 3 classes are used",
    "ovseg_clip_both": "",
    "ovseg_clip_mpt": "",
    "ovseg_clip_ft_mpt": "",  # on the weights of ovseg_clip
    "ovseg_clip_mpt_ft": "",  # on those of ovseg_clip_mpt
}


def write_dataset(folder: Path) -> None:
    """Write the images, their labels and the module."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number, size in enumerate(SIZES):
        labels = np.repeat(np.arange(3, dtype=np.uint8), -(-size[0] // 3))[: size[0], None]
        labels = np.repeat(labels, size[1], axis=1)
        pixels = 80 * labels[..., None] + rng.integers(0, 40, (*size, 3), np.uint8)
        labels[:, -4:] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
    (folder / f"{MODULE}.py").write_text(SOURCE.format(folder=str(folder)))


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """The folder at hand of all trainings, whose weights the last ones take."""
    folder = tmp_path_factory.mktemp("own")
    write_dataset(folder)
    former, path = os.getcwd(), list(sys.path)
    os.chdir(folder)
    yield folder
    os.chdir(former)
    sys.path[:] = path
    sys.modules.pop(MODULE, None)
    for name in ("own_photos", "own_captions"):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.fixture
def train(own_folder):
    """A function that trains a config of configs/ for two steps, and then evaluates."""
    main = runpy.run_path(str(ROOT / "tools" / "train_net.py"), run_name="train_net")["main"]

    def run(config: str, train: str, *opts: str) -> Path:
        argv = ["--config-file", str(ROOT / "configs" / f"{config}.yaml"), "--import", MODULE]
        argv += ["DATASETS.TRAIN", f"('{train}',)", "DATASETS.TEST", "('own_photos',)"]
        argv += ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "3", "MODEL.DEVICE", "cpu"]
        with torch.random.fork_rng():
            main([*argv, *opts])
        return own_folder / "output" / config

    return run


def test_configs_has_every_training_config():
    paths = (ROOT / "configs").glob("*.yaml")
    assert {path.stem for path in paths if load_config(path).DATASETS.TRAIN} == set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_config_trains_on_own_dataset(train, config):
    captioned = "clip" in config and not config.startswith(("maskclip", "ovseg", "pixel"))
    output = train(config, "own_captions" if captioned else "own_photos")
    assert (output / "model_final.pth").is_file() and (output / "results.json").is_file()
    log = (output / "log.txt").read_text()
    assert CONFIGS[config] in log
    assert log.count("FloatingPointError") == 0


def test_missing_captions_are_a_sentence(train):
    with pytest.raises(SystemExit, match=r"png: its captions are None; add a list of texts und"):
        train("clip", "own_photos")


def test_unknown_unseen_class_is_an_error(train):
    words = r"UNSEEN, dataset 'own_photos': 'cat' is neither one of the 3 classes nor of their sets"
    with pytest.raises(SystemExit, match=words):
        train("ovseg", "own_photos", "INPUT.SEMANTIC.UNSEEN", "['novel', 'cat']")


def tool(name: str):
    """`main` of a tool."""
    return runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name=name)["main"]


def test_missing_module_is_a_sentence():
    with pytest.raises(SystemExit, match="--import ovseg_gone: there is no such module in"):
        tool("train_net")(["--import", "ovseg_gone"])


def test_other_tools_take_the_dataset(own_folder, capsys):
    named = ["--import", MODULE]
    words = ["--opts", "DATASETS.TEST", "('own_photos',)", "MODEL.DEVICE", "cpu"]
    assert tool("demo")(["--input", "own_photos", "--output", "seen", *named, *words]) == 0
    assert len(list((own_folder / "seen").glob("*_overlay.png"))) == 5
    assert "sky" in capsys.readouterr().out
    images = ["--images", "own_photos", *named]
    assert tool("generate_masks")(["--source", "felzenszwalb", *images, "--output", "masks"]) == 0
    assert len(list((own_folder / "masks").glob("*.json"))) == 5
    truth = ["--masks", "labels", "--nouns", "classes", "--output", "pairs"]
    config = ["--config-file", str(ROOT / "configs" / "ovseg_clip.yaml")]
    assert tool("mine_pairs")([*images, *truth, *config]) == 0
    assert len(read_pairs(own_folder / "pairs" / "pairs.jsonl").pairs) == 15


@pytest.mark.slow
def test_every_process_registers_the_dataset(own_folder, environment):
    """The dataset is read, and its classes are looked up, in the processes of both jobs."""
    config = str(ROOT / "configs" / "finetune_baseline.yaml")
    sets = ["DATASETS.TRAIN", "('own_photos',)", "DATASETS.TEST", "('own_photos',)"]
    steps = ["SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "OUTPUT_DIR", "two"]
    commands = {
        "train_net": ["--config-file", config, "--dist-url", "auto", *sets, *steps],
        "mine_pairs": [
            *("--images", "own_photos", "--output", "pairs_of_two"),
            *("--masks", "labels", "--nouns", "classes"),
            *("--config-file", str(ROOT / "configs" / "ovseg_clip.yaml")),
        ],
    }
    for name, words in commands.items():
        command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), "--import", MODULE]
        done = subprocess.run(
            [*command, "--num-gpus", "2", *words],
            env=environment,
            cwd=own_folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (own_folder / "two" / "log.txt.rank1").is_file()
    assert (own_folder / "two" / "results.json").is_file()
    assert len(read_pairs(own_folder / "pairs_of_two" / "pairs.jsonl").pairs) == 15
