"""Scenes are functions of (split, seed, index), and their ground truth fits the pixels."""

import hashlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from ovseg_d2.data import shapes
from ovseg_d2.data.shapes import (
    CLASS_SETS,
    CLASSES,
    IMAGE_SIZE,
    NUM_OBJECT_CLASSES,
    SPLITS,
    render_scene,
)
from ovseg_d2.data.shapes.scene import _MIN_VISIBLE

WHICH = [("train", 0, 3), ("dev", 0, 3), ("val", 7, 12345)]

# The package of the world needs numpy alone; the other process loads only this package.
DIGEST_ELSEWHERE = """
    import hashlib, importlib.util, json, sys
    import numpy as np
    np.random.seed(5)
    np.random.rand(3)
    spec = importlib.util.spec_from_file_location(
        "world", sys.argv[1], submodule_search_locations=[sys.argv[1].rsplit("/", 1)[0]]
    )
    world = sys.modules["world"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(world)
    for which in reversed(json.loads(sys.argv[2])):
        scene = world.render_scene(*which)
        said = repr((world.write_captions(scene, *which), scene.ground_ids, scene.objects))
        data = [a.tobytes() for a in (scene.image, scene.labels, scene.regions)]
        print(hashlib.sha256(b"".join([*data, said.encode()])).hexdigest())
"""


def digest(which: tuple[str, int, int]) -> str:
    scene = render_scene(*which)
    said = repr((shapes.write_captions(scene, *which), scene.ground_ids, scene.objects))
    data = [array.tobytes() for array in (scene.image, scene.labels, scene.regions)]
    return hashlib.sha256(b"".join([*data, said.encode()])).hexdigest()


def test_render_scene_in_another_process():
    command = [sys.executable, "-c", textwrap.dedent(DIGEST_ELSEWHERE), shapes.__file__]
    which = str([list(arguments) for arguments in WHICH]).replace("'", '"')
    result = subprocess.run([*command, which], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [digest(arguments) for arguments in reversed(WHICH)]


def test_render_scene_ignores_global_generators():
    digests = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        digests.append(digest(WHICH[0]))
        drawn = np.random.rand(), torch.rand(()).item()
        np.random.seed(seed)
        torch.manual_seed(seed)
        assert drawn == (np.random.rand(), torch.rand(()).item())
    assert digests[0] == digests[1]


def test_render_scene_depends_on_all_arguments():
    which = [(s, seed, index) for s in SPLITS for seed in (0, 1) for index in (0, 1)]
    assert len({digest(arguments) for arguments in which}) == len(which)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (("test", 0, 0), "split 'test' is unknown; choose one of train, dev, val"),
        (("val", -1, 0), "seed -1 and index 0 must not be negative"),
        (("val", 0, -2), "seed 0 and index -2 must not be negative"),
    ],
)
def test_render_scene_wrong_arguments(which, message):
    with pytest.raises(ValueError, match=message):
        render_scene(*which)


def test_scene_shapes_and_dtypes(scenes):
    for scene in scenes["dev"]:
        assert scene.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert scene.labels.shape == scene.regions.shape == (IMAGE_SIZE, IMAGE_SIZE)
        assert {a.dtype for a in (scene.image, scene.labels, scene.regions)} == {np.dtype("u1")}
    assert IMAGE_SIZE >= 96


def test_scene_regions_have_one_class_each(scenes):
    for scene in [scene for split in SPLITS for scene in scenes[split]]:
        of_region = dict(enumerate(scene.ground_ids))
        of_region |= {thing.region_id: thing.class_id for thing in scene.objects}
        assert set(np.unique(scene.regions)) == set(of_region)
        assert len(of_region) == len(scene.ground_ids) + len(scene.objects)
        table = np.array([of_region[i] for i in range(len(of_region))])
        np.testing.assert_array_equal(scene.labels, table[scene.regions])


def test_scene_grounds_and_objects_are_valid(scenes):
    for scene in [scene for split in SPLITS for scene in scenes[split]]:
        assert len(scene.ground_ids) in (1, 2)
        assert len(set(scene.ground_ids)) == len(scene.ground_ids)
        assert all(NUM_OBJECT_CLASSES <= i < len(CLASSES) for i in scene.ground_ids)
        assert len(scene.objects) <= 3
        assert all(0 <= thing.class_id < NUM_OBJECT_CLASSES for thing in scene.objects)


def test_scene_boxes_are_tight(scenes):
    for scene in scenes["dev"]:
        for thing in scene.objects:
            ys, xs = np.nonzero(scene.regions == thing.region_id)
            assert thing.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_scene_objects_stay_visible():
    """The covered part of an object is known by drawing the scene without the later objects."""
    shrunk = 0
    for index in range(60):
        scene = render_scene("dev", 0, index)
        for number, thing in enumerate(scene.objects[:-1]):
            alone = _only_first_objects("dev", 0, index, number + 1)
            whole = np.count_nonzero(alone.regions == thing.region_id)
            left = np.count_nonzero(scene.regions == thing.region_id)
            assert left >= _MIN_VISIBLE * whole
            shrunk += left < whole
    assert shrunk > 5


def _only_first_objects(split: str, seed: int, index: int, count: int):
    """Render with an upper bound on the objects; the random numbers before it are the same."""
    with pytest.MonkeyPatch.context() as patch:
        bound = np.zeros(count + 1)
        bound[-1] = 1.0
        patch.setattr("ovseg_d2.data.shapes.scene._NUM_OBJECTS_CDF", bound)
        return render_scene(split, seed, index)


def test_scene_numbers_of_objects_and_grounds(scenes):
    assert {len(scene.objects) for scene in scenes["train"]} == {0, 1, 2, 3}
    assert {len(scene.ground_ids) for scene in scenes["train"]} == {1, 2}


def test_train_scenes_show_no_withheld_class(scenes):
    withheld = CLASS_SETS["withheld"]
    for scene in scenes["train"]:
        assert not np.isin(scene.labels, withheld).any()
        assert not {thing.class_id for thing in scene.objects} & set(withheld)


def test_scenes_show_all_classes_of_their_split(scenes):
    seen = {split: set() for split in SPLITS}
    for split in SPLITS:
        for scene in scenes[split]:
            seen[split] |= set(np.unique(scene.labels).tolist())
    assert seen["train"] == {*CLASS_SETS["base"], *CLASS_SETS["novel"]}
    assert seen["dev"] & set(CLASS_SETS["withheld"])
    assert seen["val"] & set(CLASS_SETS["withheld"])
