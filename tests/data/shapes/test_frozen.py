"""Version 1 of the Shapes world stays what results were measured on.

A change of these values is version 2 of the world: it needs new weights and new results.
"""

import pytest

from ovseg_d2.data import shapes

# (split, index): objects with their visible boxes, grounds, mean colour, captions.
SCENES = {
    ("train", 0): (
        [("red cross", (0, 9, 58, 72))],
        ["brick"],
        (195.57, 94.01, 84.65),
        ("a red cross on brick", "brick", "a red cross"),
    ),
    ("train", 7): (
        [("orange cross", (4, 3, 52, 58))],
        ["snow"],
        (254.93, 240.59, 219.19),
        ("an orange cross", "a photo of an orange cross"),
    ),
    ("dev", 4): (
        [("purple dots", (60, 20, 96, 76))],
        ["sand"],
        (168.25, 144.18, 118.22),
        ("purple dots",),
    ),
    ("val", 2): ([], ["tiles"], (148.27, 164.6, 158.76), ("a photo of tiles", "tiles")),
    ("val", 41): (
        [
            ("red ring", (23, 7, 51, 57)),
            ("orange star", (11, 46, 83, 96)),
            ("blue waves", (41, 0, 96, 54)),
        ],
        ["brick", "water"],
        (99.71, 81.12, 87.41),
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
