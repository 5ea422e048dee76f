"""`label_codes`: label values and colours to class ids."""

import numpy as np
import pytest

from ovseg_d2.vocab import IGNORED, label_codes

K = {"stuff_classes": ["sky", "sea", "sand"]}


def codes(**metadata):
    return label_codes(K | metadata, "dataset x")


def decode(values, **metadata):
    return codes(**metadata).decode(np.array(values), "l.png").tolist()


def test_decode_values_are_class_ids_by_default():
    assert decode([[0, 2], [255, 1]], ignore_label=255) == [[0, 2], [IGNORED, 1]]
    assert decode([[0, 70000]], ignore_label=70000) == [[0, IGNORED]]
    assert decode([[-1, 0]], ignore_label=-1) == [[IGNORED, 0]]


def test_decode_ignores_several_values_even_class_ids():
    assert decode([[0, 1, 255]], ignore_label=[0, 255]) == [[IGNORED, 1, IGNORED]]
    assert decode([[0, 1]], ignore_label=()) == [[0, 1]]


@pytest.mark.parametrize("ignored", ["255", 1.5, True, [0, "1"], {"a": 1}, [None]])
def test_label_codes_refuses_ignore_label(ignored):
    with pytest.raises(ValueError, match="ignore_label of dataset x is .*; give an integer, or a"):
        codes(ignore_label=ignored)


def test_decode_maps_dataset_ids():
    ids = {7: 0, 11: 1, 300000: 2, 4: 255}
    metadata = {"ignore_label": 255, "stuff_dataset_id_to_contiguous_id": ids}
    assert decode([[7, 300000], [255, 4]], **metadata) == [[0, 2], [IGNORED, IGNORED]]
    words = (
        "label file l.png holds the id 5 in 2 pixels, which dataset x neither has in its "
        "stuff_dataset_id_to_contiguous_id nor ignores .it ignores 255.; add it there, or set"
    )
    with pytest.raises(ValueError, match=words):
        decode([[7, 5, 5]], **metadata)


@pytest.mark.parametrize("ids", [{7: 3}, {"7": 0}, {7: None}, [7, 8], {7: -1}, {True: 0}, {7: 0.0}])
def test_label_codes_refuses_id_map(ids):
    with pytest.raises(ValueError, match="contiguous_id of dataset x holds .*; map integers to"):
        codes(ignore_label=255, stuff_dataset_id_to_contiguous_id=ids)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([[1, 3]], "dataset"), ([[0, 2]], "contiguous"), ([[1, 2, 255]], ""), ([[0, 3]], "")],
)
def test_proven_by(values, kind):
    ids = {1: 0, 2: 1, 3: 2}
    label_values = codes(ignore_label=255, stuff_dataset_id_to_contiguous_id=ids)
    assert label_values.proven_by(np.array(values)) == kind


def test_decode_colours():
    palette = {(0, 0, 9): 0, (255, 255, 255): 1, (1, 2, 3): 255, (4, 5, 6): 1}
    pixels = np.array([[[0, 0, 9], [1, 2, 3]], [[4, 5, 6], [255, 255, 255]]], dtype=np.uint8)
    decoded = decode(pixels, ignore_label=255, label_palette=palette)
    assert decoded == [[0, IGNORED], [1, 1]]
    words = r"l.png holds the colour \(1, 2, 4\) in 1 pixels, which the label_palette of dataset x"
    with pytest.raises(ValueError, match=words):
        decode([[[1, 2, 4]]], ignore_label=255, label_palette=palette)


def test_label_palette_maps_to_values_of_files():
    metadata = {"ignore_label": 255, "stuff_dataset_id_to_contiguous_id": {7: 0, 8: 1, 9: 2}}
    pixels = np.array([[[1, 1, 1], [2, 2, 2]]])
    palette = {(1, 1, 1): 9, (2, 2, 2): 8}
    assert decode(pixels, label_palette=palette, **metadata) == [[2, 1]]
    palette = {(1, 1, 1): 2, (2, 2, 2): 1}
    decoded = decode(pixels, label_palette=palette, label_ids="contiguous", **metadata)
    assert decoded == [[2, 1]]


def test_stuff_colors_serve_without_a_palette():
    colors = [[9, 9, 9], [1, 1, 1], [5, 5, 5]]
    decoded = decode([[[5, 5, 5], [9, 9, 9]]], ignore_label=255, stuff_colors=colors)
    assert decoded == [[2, 0]]
    # Equal colours, or other values, encode no labels.
    assert codes(ignore_label=255, stuff_colors=[[1, 1, 1]] * 3).colors == {}
    assert codes(ignore_label=255, stuff_colors=["red", None, 3]).colors == {}


@pytest.mark.parametrize(
    "palette", [{(1, 2): 0}, {(1, 2, 256): 0}, {(1, 2, 3): 3}, {"red": 0}, [(1, 2, 3)], 5]
)
def test_label_codes_refuses_palette(palette):
    with pytest.raises(ValueError, match=r"label_palette of dataset x holds .*; map \(R, G, B\)"):
        codes(ignore_label=255, label_palette=palette)


def test_label_codes_refuses_label_ids():
    with pytest.raises(ValueError, match="label_ids of dataset x is 'both'; give 'dataset' if"):
        codes(label_ids="both")


def test_decode_names_a_remedy_for_ids_from_1():
    words = r"holds the id 3, but dataset x has 3 classes.*count from 1: .*\{1: 0, ..., 3: 2\}"
    with pytest.raises(ValueError, match=words):
        decode([[1, 3]], ignore_label=255)


def test_decode_not_strict_marks_unknown_values():
    decoded = codes(ignore_label=255).decode(np.array([[0, 9, 255]]), "l.png", strict=False)
    assert decoded.tolist() == [[0, -101, IGNORED]]
