"""Virtual files: names, readers, and the cache of scenes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ovseg_d2.data.shapes import (
    CLASS_SETS,
    IGNORE_LABEL,
    format_name,
    is_shapes_name,
    parse_name,
    read_captions,
    read_crop,
    read_image,
    read_labels,
    read_regions,
    render_scene,
    views,
    write_captions,
)

NAMES = [format_name(split, 0, index) for split in ("train", "val") for index in range(30)]


def test_format_name_and_parse_name():
    assert format_name("val", 3, 12) == "shapes://val/3/12"
    assert parse_name("shapes://val/3/12") == ("val", 3, 12)
    assert is_shapes_name("shapes://anything")
    assert not is_shapes_name("/data/shapes/val/3/12.png")


@pytest.mark.parametrize(
    "name",
    [
        "val/0/1",
        "shapes://",
        "shapes://test/0/1",
        "shapes://val/0",
        "shapes://val/0/1/2",
        "shapes://val/0/-1",
        "shapes://val/0/1.5",
        "shapes://val/0/",
        "shapes://val/x/1",
    ],
)
@pytest.mark.parametrize("read", [parse_name, read_image, read_labels, read_captions, read_crop])
def test_readers_refuse_bad_names(read, name):
    with pytest.raises(ValueError, match="is not an image of the Shapes world; write shapes://"):
        read(name)


def test_readers_return_parts_of_the_scene():
    scene = render_scene("val", 0, 5)
    np.testing.assert_array_equal(read_image("shapes://val/0/5"), scene.image)
    np.testing.assert_array_equal(read_labels("shapes://val/0/5"), scene.labels)
    np.testing.assert_array_equal(read_regions("shapes://val/0/5"), scene.regions)
    assert read_captions("shapes://val/0/5") == write_captions(scene, "val", 0, 5)


def test_readers_return_read_only_arrays():
    name = next(name for name in NAMES if render_scene(*parse_name(name)).objects)
    arrays = [read_image(name), read_labels(name), read_regions(name), read_crop(name)[0]]
    for array in [*arrays, read_labels(name, hide_novel=True)]:
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_read_labels_hides_novel_and_withheld():
    hidden_classes = set()
    for name in NAMES:
        labels, training = read_labels(name), read_labels(name, hide_novel=True)
        is_base = np.isin(labels, CLASS_SETS["base"])
        np.testing.assert_array_equal(training, np.where(is_base, labels, IGNORE_LABEL))
        hidden_classes |= set(labels[~is_base].tolist())
    assert hidden_classes & set(CLASS_SETS["novel"])
    assert hidden_classes & set(CLASS_SETS["withheld"])


def test_read_crop_holds_its_object():
    empty = 0
    for name in NAMES:
        scene = render_scene(*parse_name(name))
        crop, class_id = read_crop(name, margin=0)
        if not scene.objects:
            empty += 1
            np.testing.assert_array_equal(crop, scene.image)
            assert class_id == scene.ground_ids[0]
            continue
        boxes = [thing.box for thing in scene.objects if thing.class_id == class_id]
        assert any(
            np.array_equal(crop, scene.image[top:bottom, left:right])
            for left, top, right, bottom in boxes
        )
    assert 0 < empty < len(NAMES) / 2


def test_read_crop_margin_stops_at_the_border():
    for name in NAMES:
        scene = render_scene(*parse_name(name))
        if not scene.objects:
            continue
        crop, class_id = read_crop(name, margin=0.5)
        whole, _ = read_crop(name, margin=20.0)
        np.testing.assert_array_equal(whole, scene.image)
        sizes = []
        for left, top, right, bottom in (e.box for e in scene.objects if e.class_id == class_id):
            pad = round(0.5 * max(right - left, bottom - top))
            sizes.append(
                (
                    min(bottom + pad, 96) - max(top - pad, 0),
                    min(right + pad, 96) - max(left - pad, 0),
                )
            )
        assert crop.shape[:2] in sizes


def test_read_crop_chooses_different_objects():
    chosen = set()
    for name in NAMES:
        objects = render_scene(*parse_name(name)).objects
        if len(objects) == 3 and len({thing.class_id for thing in objects}) == 3:
            class_id = read_crop(name)[1]
            chosen |= {n for n, thing in enumerate(objects) if thing.class_id == class_id}
    assert len(chosen) > 1


def test_read_crop_negative_margin():
    with pytest.raises(ValueError, match="margin=-0.1 would cut the object"):
        read_crop(NAMES[0], margin=-0.1)


@pytest.fixture
def rendered(monkeypatch) -> list[tuple]:
    """The arguments of all calls that render a scene."""
    calls = []

    def render(*arguments):
        calls.append(arguments)
        return render_scene(*arguments)

    monkeypatch.setattr(views, "render_scene", render)
    return calls


def test_scene_cache_drops_the_least_recently_used(rendered):
    cache = views._SceneCache(max_bytes=3 * 96 * 96 * 5)
    for index in (0, 1, 2, 0, 3, 0, 2, 1):  # 3 takes the place of 1
        cache.get("val", 0, index)
    assert [index for _, _, index in rendered] == [0, 1, 2, 3, 1]


def test_scene_cache_smaller_than_a_scene(rendered):
    cache = views._SceneCache(max_bytes=1)
    for index in (0, 0, 1, 0):
        scene = cache.get("val", 0, index)
        np.testing.assert_array_equal(scene.image, render_scene("val", 0, index).image)
    assert len(rendered) == 3


def test_scene_cache_counts_a_scene_of_two_threads_once(rendered):
    cache = views._SceneCache(max_bytes=2 * 96 * 96 * 5)
    with ThreadPoolExecutor(4) as pool:
        scenes = list(pool.map(lambda _: cache.get("val", 0, 0), range(16)))
    for scene in scenes:
        np.testing.assert_array_equal(scene.labels, scenes[0].labels)
        assert not scene.image.flags.writeable
    rendered.clear()
    for index in (1, 0, 1):
        cache.get("val", 0, index)
    assert len(rendered) == 1
