"""Version 1 of the Shapes world stays what results were measured on.

A change of these values is version 2 of the world: it needs new weights and new results.
"""

import pytest

from ovseg_d2.data import shapes

# (split, index): objects with their visible boxes, grounds, mean colour, captions.
SCENES = {
    ("train", 0): (
        [("red cross", (0, 3, 65, 79))],
        ["brick"],
        (200.37, 86.51, 79.7),
        ("a red cross", "a picture of a red cross", "a photo of a red cross"),
    ),
    ("train", 7): (
        [("orange cross", (5, 4, 51, 44)), ("cyan stripes", (0, 35, 45, 75))],
        ["snow"],
        (217.06, 217.47, 212.68),
        ("an orange cross", "cyan stripes"),
    ),
    ("dev", 4): (
        [("purple dots", (59, 19, 96, 77))],
        ["sand"],
        (168.37, 144.22, 119.27),
        ("purple dots",),
    ),
    ("val", 2): (
        [],
        ["tiles"],
        (148.27, 164.6, 158.76),
        ("a photo of tiles", "tiles"),
    ),
    ("val", 41): (
        [
            ("red ring", (26, 10, 56, 52)),
            ("orange star", (1, 28, 81, 96)),
            ("blue waves", (46, 0, 96, 75)),
        ],
        ["brick", "water"],
        (113.41, 97.87, 106.64),
        ("a picture of a red ring", "a red ring"),
    ),
}


@pytest.mark.parametrize(("split", "index"), SCENES)
def test_scenes_are_those_of_version_1(split, index):
    objects, grounds, color, captions = SCENES[split, index]
    scene = shapes.render_scene(split, 0, index)
    assert [(shapes.CLASSES[o.class_id], o.box) for o in scene.objects] == objects
    assert [shapes.CLASSES[i] for i in scene.ground_ids] == grounds
    # Other processors may round a pixel differently, but not a picture.
    assert scene.image.reshape(-1, 3).mean(0) == pytest.approx(color, abs=0.02)
    assert shapes.write_captions(scene, split, 0, index) == captions
