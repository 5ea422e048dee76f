"""Mining: the paper's three ways on the Shapes world, COCO's files, kills and broken images."""

import json

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.utils import comm
from ovseg_d2.data import shapes
from ovseg_d2.masks import MaskPair, PairFileError, read_pairs, write_masks
from ovseg_d2.prepare import pair_job
from ovseg_d2.prepare.pair_job import PAIR_FILE, describe_summary, plan_pairs
from ovseg_d2.prepare.pair_miner import MiningOptions

SOME = ["shapes://train/0/0-9"]


@pytest.fixture
def cfg():
    return load_config(None, ["MODEL.DEVICE", "cpu", "MODEL.TEXT.TEMPLATES", "['a photo of {}']"])


@pytest.fixture
def mine(tmp_path, cfg):
    """A function that plans, runs and joins in this process: the pairs and the summary."""

    def run(inputs=SOME, folder="out", **options):
        job = plan_pairs(inputs, MiningOptions(**options), cfg, tmp_path / folder)
        job.run(cfg, "cpu")
        summary = job.finish()
        return read_pairs(tmp_path / folder / PAIR_FILE).pairs, summary

    return run


def truth_of(pair: MaskPair) -> str:
    """The class that most pixels of a pair's mask have."""
    labels = shapes.read_labels(pair.image)
    return shapes.CLASSES[np.bincount(labels[pair.decode(labels.shape)]).argmax()]


def test_captions_and_proposals(mine):
    pairs, summary = mine()
    assert summary["pairs"] == len(pairs) > 15
    assert summary["pictures"] == 10 and summary["why_left_out"] == {}
    for pair in pairs:
        assert pair.caption in shapes.read_captions(pair.image)
        assert pair.noun in pair.caption and -1 <= pair.score <= 1
        regions = shapes.read_regions(pair.image)
        mask = pair.decode(regions.shape)
        assert (
            len(np.unique(regions[mask])) == 1 and mask.sum() == (regions == regions[mask][0]).sum()
        )
    # ShapesCLIP knows its world: of more than 70 classes chance would be right once.
    assert sum(truth_of(pair) == pair.noun for pair in pairs) > 0.6 * len(pairs)
    counted = {noun: count for noun, count in summary["most_common"]}
    assert all([p.noun for p in pairs].count(noun) == count for noun, count in counted.items())
    text = describe_summary(summary)
    assert text.startswith(f"{len(pairs)} pairs of {summary['unique_nouns']} nouns from 10 images")


def test_captions_per_image(mine):
    pairs, _ = mine(captions_per_image=1)
    assert all(pair.caption == shapes.read_captions(pair.image)[0] for pair in pairs)


def test_single_nouns(mine):
    pairs, _ = mine(nouns="nouns")
    assert pairs and all(" " not in pair.noun for pair in pairs)


def test_true_masks_and_classes(mine, monkeypatch):
    monkeypatch.setattr("ovseg_d2.prepare.pair_miner.build_tower", None)  # CLIP is not needed
    pairs, _ = mine(masks="labels", nouns="classes")
    base = {shapes.CLASSES[number] for number in shapes.CLASS_SETS["base"]}
    assert {pair.noun for pair in pairs} <= base
    expected = sum(
        len(np.setdiff1d(shapes.read_labels(f"shapes://train/0/{n}", hide_novel=True), [255]))
        for n in range(10)
    )
    assert len(pairs) == expected
    for pair in pairs:
        labels = shapes.read_labels(pair.image)
        assert (pair.decode(labels.shape) == (labels == shapes.CLASSES.index(pair.noun))).all()


def test_true_masks_and_nouns(mine):
    pairs, _ = mine(masks="labels")
    assert any(pair.noun != truth_of(pair) for pair in pairs)  # novel things have no mask
    assert all(pair.caption for pair in pairs)


# --- real images and COCO's captions


@pytest.fixture
def coco(tmp_path):
    """Captions, images and stored masks of which most have a fault."""
    folder, masks = tmp_path / "data" / "train", tmp_path / "masks"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    captions = {
        "good": ["A red dog on grass.", "Two dogs."],
        "empty": ["A cat."],
        "larger": ["A cat."],
        "broken": ["A cat."],
        "silent": ["!!!"],
        "nomasks": ["A cat."],
    }
    for name in [*captions, "uncaptioned"]:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
        found = np.zeros((2, 20, 30), dtype=bool)
        found[0, 3:9, 4:20] = found[1, 10:, :] = True
        if name == "larger":
            found = np.pad(found, ((0, 0), (0, 5), (0, 5)))
        if name != "nomasks":
            write_masks(masks / f"{name}.json", found[:0] if name == "empty" else found)
    (folder / "broken.png").write_bytes(b"no image")
    images = [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate(captions)]
    texts = [
        {"image_id": number, "caption": text}
        for number, name in enumerate(captions)
        for text in captions[name]
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": texts}))
    options = {"captions": str(path), "masks": "stored", "mask_options": {"folder": str(masks)}}
    return [str(folder)], options


def test_bad_images_are_reported_and_left_out(mine, coco, capsys):
    inputs, options = coco
    pairs, summary = mine(inputs, **options)
    assert [pair.noun for pair in pairs] == ["red dog", "grass", "dogs"]
    assert all(pair.image == f"{inputs[0]}/good.png" for pair in pairs)
    assert pairs[0].decode((20, 30)).any()
    why = {name.rsplit("/", 1)[1]: text for name, text in summary["why_left_out"].items()}
    assert len(why) == summary["left_out"] == 6
    assert "no masks" in why["empty.png"]
    assert "its masks are 25 x 35 pixels" in why["larger.png"]
    assert "cannot read" in why["broken.png"]
    assert "no noun in its captions" in why["silent.png"]
    assert "no noun in its captions, or no captions" in why["uncaptioned.png"]
    assert "there is no such file" in why["nomasks.png"]
    assert capsys.readouterr().err.count("left out: ") == 6


def test_images_may_move_with_their_root(mine, coco, tmp_path):
    inputs, options = coco
    mine(inputs, **options)
    first, second, *_ = (tmp_path / "out" / PAIR_FILE).read_text().splitlines()
    assert json.loads(first)["info"]["image_root"] == inputs[0]
    assert json.loads(second)["image"] == "good.png"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nouns": "verbs"}, "nouns='verbs'; choose one of phrases, nouns, classes"),
        ({"masks": "cookie"}, "masks='cookie'; choose one of labels, shapes"),
        ({"nouns": "classes"}, "masks='shapes' have no classes; choose nouns='phrases', or masks"),
        ({"masks": "labels", "mask_options": {"a": 1}}, "masks='labels' take no options"),
        ({"captions_per_image": -1}, "captions_per_image=-1; give 1 or more, or 0 for all"),
    ],
)
def test_mining_options_refuses_bad_values(options, words):
    with pytest.raises(ValueError, match=words):
        MiningOptions(**options)


def test_captions_of_another_format(mine, tmp_path):
    (tmp_path / "instances.json").write_text('{"images": [], "categories": []}')
    with pytest.raises(ValueError, match="instances.json: it has no list 'annotations'"):
        mine(captions=str(tmp_path / "instances.json"))


def test_images_without_labels_are_refused(mine, coco):
    with pytest.raises(ValueError, match="has no labels; for masks='labels' name a registered"):
        mine(coco[0], masks="labels", nouns="classes")


def test_labels_of_a_registered_dataset(mine, toy_dataset):
    labels = np.array([[0, 0, 2], [1, 255, 9]])
    name = toy_dataset("ovseg_toy_mined", ["a cat", "b", "c"], labels=[labels])
    pairs, _ = mine([name], masks="labels", nouns="classes")
    assert [pair.noun for pair in pairs] == ["a cat", "b", "c"]
    assert (pairs[0].decode((2, 3)) == (labels == 0)).all()


# --- kills, processes, other commands


def test_existing_parts_are_kept_for_any_number_of_processes(mine, cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_job, "_PART_SIZE", 3)
    alone, _ = mine()
    job = plan_pairs(SOME, MiningOptions(), cfg, tmp_path / "two")
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    job.run(cfg, "cpu")
    parts = sorted((tmp_path / "two" / "parts").iterdir())
    assert [path.name for path in parts] == ["000001.jsonl", "000003.jsonl"]
    assert job.finish() is None  # the other process's are missing, as after a kill
    before = [path.stat().st_mtime_ns for path in parts]
    monkeypatch.setattr(comm, "get_world_size", lambda: 1)
    monkeypatch.setattr(comm, "get_rank", lambda: 0)
    job.run(cfg, "cpu")
    assert [path.stat().st_mtime_ns for path in parts] == before
    assert job.finish()["pairs"] == len(alone)
    assert read_pairs(tmp_path / "two" / PAIR_FILE).pairs == alone
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [PAIR_FILE, "summary.json"]
    # Done is done: neither CLIP nor a image is read again.
    monkeypatch.setattr(pair_job, "PairMiner", None)
    again = plan_pairs(SOME, MiningOptions(), cfg, tmp_path / "two")
    again.run(cfg, "cpu")
    assert again.is_done and again.finish()["pairs"] == len(alone)


def test_pairs_of_two_commands_are_not_mixed(mine, cfg, tmp_path):
    mine(masks="labels", nouns="classes")
    with pytest.raises(ValueError, match=r"another command \(it differs in .*masks, nouns.*choose"):
        mine()
    other = load_config(None, ["MODEL.TEXT.TEMPLATES", "['{}']"])
    mine(folder="clip")
    job = plan_pairs(SOME, MiningOptions(), other, tmp_path / "clip")
    with pytest.raises(ValueError, match="differs in templates"):
        _ = job.is_done


def test_damaged_part_is_an_error(mine, cfg, tmp_path):
    job = plan_pairs(SOME, MiningOptions(masks="labels", nouns="classes"), cfg, tmp_path / "out")
    job.run(cfg, "cpu")
    part = tmp_path / "out" / "parts" / "000000.jsonl"
    part.write_text(part.read_text().splitlines()[0] + "\n{cut")
    with pytest.raises(PairFileError, match="000000.jsonl: it holds no pair .line 2 is cut off"):
        job.finish()
