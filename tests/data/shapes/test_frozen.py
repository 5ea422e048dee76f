"""Version 1 of the Shapes world stays what results were measured on.

A change of these values is version 2 of the world: it needs new weights and new results.
"""

import pytest

from ovseg_d2.data import shapes

# (split, index): objects with their visible boxes, grounds, mean colour, captions.
SCENES = {
    ("train", 0): (
        [("red cross", (0, 13, 55, 69)), ("red dots", (36, 47, 79, 91))],
        ["brick"],
        (158.75, 82.73, 75.55),
        ("red dots and a red cross on brick", "brick", "there is a red cross in the scene"),
    ),
    ("train", 7): (
        [("orange cross", (6, 6, 49, 44)), ("cyan stripes", (0, 35, 45, 74))],
        ["snow"],
        (217.38, 218.68, 215.23),
        ("an orange cross", "cyan stripes"),
    ),
    ("dev", 4): (
        [("purple dots", (62, 24, 96, 73))],
        ["sand"],
        (168.2, 144.53, 115.82),
        ("purple dots",),
    ),
    ("val", 2): (
        [("green waves", (49, 40, 88, 72))],
        ["tiles"],
        (125.62, 143.93, 134.31),
        ("green waves", "a photo of green waves", "green waves on tiles"),
    ),
    ("val", 41): (
        [
            ("red ring", (25, 9, 54, 55)),
            ("orange star", (15, 44, 78, 96)),
            ("blue waves", (44, 0, 94, 51)),
        ],
        ["brick", "water"],
        (99.35, 83.35, 90.12),
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
