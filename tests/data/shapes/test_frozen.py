"""Version 1 of the Shapes world does not change.

Other values are a version 2 of the world, which needs new weights and new results.
"""

import pytest

from ovseg_d2.data import shapes

# (split, index): objects with their visible boxes, grounds, mean colour, captions.
SCENES = {
    ("train", 0): (
        [("red cross", (0, 7, 75, 81))],
        ["brick"],
        (197.9, 90.1, 82.0),
        ("a red cross", "a picture of a red cross", "a photo of a red cross"),
    ),
    ("train", 7): (
        [("orange cross", (9, 8, 54, 46)), ("cyan stripes", (0, 33, 51, 73))],
        ["snow"],
        (218.66, 220.5, 218.87),
        ("an orange cross", "cyan stripes"),
    ),
    ("dev", 4): (
        [("purple dots", (47, 18, 96, 76))],
        ["sand"],
        (168.5, 143.66, 122.47),
        ("purple dots",),
    ),
    ("val", 2): ([], ["tiles"], (148.27, 164.6, 158.76), ("a photo of tiles", "tiles")),
    ("val", 11): (
        [
            ("cyan ring", (32, 22, 77, 81)),
            ("yellow stripes", (0, 0, 63, 48)),
            ("pink ring", (36, 12, 77, 50)),
        ],
        ["grass", "wood"],
        (124.64, 133.53, 88.21),
        ("a photo of wood", "a pink ring, yellow stripes and a cyan ring on wood"),
    ),
}


@pytest.mark.parametrize(("split", "index"), SCENES)
def test_render_scene_is_version_1(split, index):
    objects, grounds, color, captions = SCENES[split, index]
    scene = shapes.render_scene(split, 0, index)
    assert [(shapes.CLASSES[o.class_id], o.box) for o in scene.objects] == objects
    assert [shapes.CLASSES[i] for i in scene.ground_ids] == grounds
    # Other processors may round single pixels differently.
    assert scene.image.reshape(-1, 3).mean(0) == pytest.approx(color, abs=0.02)
    assert shapes.write_captions(scene, split, 0, index) == captions
