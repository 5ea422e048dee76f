"""Heat maps: colours, colour bar, layout and file names."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.viz import Heatmaps, draw_heatmap

# The ends and the middle of inferno, as published with it: #000004, #bc3754, #fcffa4.
LOWEST, MIDDLE, HIGHEST = (0, 0, 4), (188, 55, 84), (252, 255, 164)


def image_of(height: int, width: int, color: tuple[int, int, int] = (100, 50, 200)) -> np.ndarray:
    return np.tile(np.array(color, np.uint8), (height, width, 1))


def quarters(side: int = 256) -> np.ndarray:
    """0 and 0.5 above, 0.25 and 1 below."""
    return np.array([[0, 0.5], [0.25, 1]]).repeat(side // 2, 0).repeat(side // 2, 1)


def pixel(canvas: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.asarray(canvas)[y, x].tolist())


def test_draw_heatmap_colours_of_ends_and_middle():
    canvas = draw_heatmap(image_of(256, 256), quarters(), "word", alpha=1.0)
    assert pixel(canvas, 0, 0) == LOWEST
    assert pixel(canvas, 127, 127) == LOWEST
    assert pixel(canvas, 128, 128) == HIGHEST
    assert pixel(canvas, 255, 255) == HIGHEST
    np.testing.assert_allclose(pixel(canvas, 255, 0), MIDDLE, atol=3)


def test_draw_heatmap_blends_by_alpha():
    canvas = draw_heatmap(image_of(256, 256), quarters(), "word", alpha=0.5)
    np.testing.assert_allclose(pixel(canvas, 0, 0), (50, 25, 102), atol=1)
    np.testing.assert_allclose(pixel(canvas, 255, 255), (176, 152.5, 182), atol=1)
    clear = draw_heatmap(image_of(256, 256), quarters(), "word", alpha=0.0)
    np.testing.assert_array_equal(np.asarray(clear)[:256], image_of(256, 256))


def test_draw_heatmap_clips_to_the_span(drawn):
    canvas = draw_heatmap(image_of(256, 256), quarters(), "word", span=(0.25, 0.5), alpha=1.0)
    assert pixel(canvas, 0, 0) == LOWEST  # 0
    assert pixel(canvas, 0, 255) == LOWEST  # 0.25
    assert pixel(canvas, 255, 0) == HIGHEST  # 0.5
    assert pixel(canvas, 255, 255) == HIGHEST  # 1
    assert [text for _, text in drawn] == ["word", "0.25", "0.5"]


def test_draw_heatmap_span_exceeds_the_values():
    low = draw_heatmap(image_of(256, 256), quarters() / 2, "word", span=(0, 1), alpha=1.0)
    np.testing.assert_allclose(pixel(low, 255, 255), MIDDLE, atol=3)


@pytest.mark.parametrize("value", [-3.0, 0.0, 0.7])
def test_draw_heatmap_of_a_constant_map(value, drawn):
    confidence = np.full((256, 300), value, np.float32)
    canvas = np.asarray(draw_heatmap(image_of(256, 300), confidence, "word", alpha=1.0))
    np.testing.assert_array_equal(canvas[:256], image_of(256, 300, LOWEST))
    assert [text for _, text in drawn][1:] == [f"{value:.3g}"] * 2


def test_draw_heatmap_colour_bar_lies_between_its_values(drawn):
    canvas = draw_heatmap(image_of(256, 400), np.eye(256, 400) * 0.123456, "a", label="cosine")
    assert [text for _, text in drawn] == ["a", "cosine", "0", "0.123"]
    (_, _, left, _), (right, _, _, _) = drawn[2][0], drawn[3][0]
    row = np.asarray(canvas)[256 + round(np.mean([drawn[3][0][1], drawn[3][0][3]]))]
    row = row[int(left) + 1 : int(right)]
    bar = row[(row != 255).any(axis=1)]
    assert len(bar) > 0.8 * len(row)
    assert tuple(bar[0]) == LOWEST and tuple(bar[-1]) == HIGHEST
    lightness = bar.astype(int) @ [299, 587, 114]
    assert (np.diff(lightness) >= -600).all()  # brightness rises, up to rounding


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (96, 96), (300, 600), (40, 2600)])
@pytest.mark.parametrize(
    "title", ["sky", "a very long word " * 30, "two\nlines", "", "\u706f\u7b3c"]
)
def test_draw_heatmap_texts_lie_inside_without_overlap(size, title, drawn, check_layout):
    confidence = np.linspace(-1.23e-5, 1.5e6, size[0] * size[1]).reshape(size)
    canvas = draw_heatmap(image_of(*size), confidence, title, label="what it is " * 20)
    check_layout(canvas)
    if len(title) > 100:
        assert drawn[0][1].endswith("…") and title.startswith(drawn[0][1][:-1])
    assert "\n" not in drawn[0][1]


def test_draw_heatmap_widens_an_image_of_one_pixel():
    confidence = np.zeros((300, 1), np.float32)
    confidence[299] = 1
    canvas = draw_heatmap(image_of(300, 1), confidence, "word", alpha=1.0)
    assert pixel(canvas, 23, 298) == LOWEST
    assert pixel(canvas, 23, 299) == HIGHEST
    assert pixel(canvas, 24, 299) == (255, 255, 255)


def test_draw_heatmap_does_not_change_its_arguments():
    image, confidence = image_of(8, 8), np.eye(8, dtype=np.float32)
    before = image.copy(), confidence.copy()
    draw_heatmap(image, confidence, "word")
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(confidence, before[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"image has shape \(4, 4\)"),
        ({"image": np.zeros((4, 4, 3))}, "dtype float64"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, r"shape \(0, 4, 3\)"),
        ({"confidence": np.zeros((4, 5))}, r"confidence has shape \(4, 5\)"),
        ({"confidence": np.zeros((4, 4), int)}, "dtype int64"),
        ({"confidence": np.full((4, 4), np.nan)}, "NaN or infinity"),
        ({"confidence": np.full((4, 4), -np.inf)}, "NaN or infinity"),
        ({"span": (1.0, 1.0)}, r"span is \(1.0, 1.0\)"),
        ({"span": (0.0, np.inf)}, "two numbers that rise"),
        ({"alpha": -0.1}, "alpha is -0.1"),
    ],
)
def test_draw_heatmap_refuses(changes, message):
    arguments = {"image": image_of(4, 4), "confidence": np.zeros((4, 4)), "title": "word"}
    with pytest.raises(ValueError, match=message):
        draw_heatmap(**(arguments | changes))


def maps_of(*words: str, measure: Any = "probability") -> Heatmaps:
    values = np.array([[0.25, 0.5], [0.25, 0.0]], np.float32)
    return Heatmaps(image_of(2, 2), dict.fromkeys(words, values), measure)


def test_heatmaps_draw_spans_of_probabilities_and_cosines(drawn):
    maps_of("sky", "sea").draw("sky")
    assert [text for _, text in drawn] == ["sky", "probability among 2 words", "0", "1"]
    drawn.clear()
    maps_of("sky", measure="cosine").draw("sky")
    assert [text for _, text in drawn] == ["sky", "cosine, lowest to highest here", "0", "0.5"]
    with pytest.raises(ValueError, match=r"'tree' has no heat map; there are \['sky'\]"):
        maps_of("sky").draw("tree")


def test_heatmaps_of_attention(tmp_path, drawn):
    values = np.full((4, 6), 0.25, np.float32)
    values[0, 0] = 0.5
    for confidence, end in ((values, "0.5"), (np.zeros_like(values), "0")):
        heatmaps = Heatmaps(image_of(4, 6), {"a red star": confidence}, "attention")
        drawn.clear()
        assert [path.name for path in heatmaps.save(tmp_path, "x").values()] == [
            "x_attention_a-red-star.png"
        ]
        assert [text for _, text in drawn][1:] == ["attention, up to the most here", "0", end]
    assert heatmaps.summary("x")["words"]["a red star"]["file"] == "x_attention_a-red-star.png"


def test_heatmaps_summary_and_files(tmp_path):
    heatmaps = maps_of("red star", "sea")
    paths = heatmaps.save(tmp_path / "new", "name")
    assert {word: path.name for word, path in paths.items()} == {
        "red star": "name_heatmap_red-star.png",
        "sea": "name_heatmap_sea.png",
    }
    assert {path.name for path in (tmp_path / "new").iterdir()} == {p.name for p in paths.values()}
    with Image.open(paths["sea"]) as saved, heatmaps.draw("sea") as expected:
        np.testing.assert_array_equal(np.asarray(saved), np.asarray(expected))
    stats = {"min": 0.0, "max": 0.5, "mean": 0.25}
    summary = json.loads(json.dumps(heatmaps.summary("name")))
    assert summary == {
        "measure": "probability",
        "words": {word: {"file": path.name, **stats} for word, path in paths.items()},
    }


def test_heatmaps_save_gives_every_word_its_own_file(tmp_path):
    words = [
        *("a b", "a-b", "a/b", "a  B!", "../a b", "A_b", "a b-2"),
        *("\u706f\u7b3c", "\u043a\u043e\u0442", "\u0915\u093f\u0924\u093e\u092c", "½", "ﬁn"),
        *("caf\u00e9", "cafe\u0301 ", "stra\u00dfe", "STRASSE!", "\u0130", "i\u0307"),
        *("😀", "?", "..", "/", "\x00", "a\nb\tc", "\ud800", "nul", "con."),
        *("x" * 999, "x" * 998, "\u706f" * 500, "😀x" * 300),
    ]
    paths = maps_of(*words).save(tmp_path, "p")
    assert list(paths) == words
    names = [path.name for path in paths.values()]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    for form in ("NFC", "NFD"):
        assert len({unicodedata.normalize(form, name).casefold() for name in names}) == len(words)
    for path in paths.values():
        assert path.parent == tmp_path and len(path.name.encode()) < 120
        assert not set(path.name) & set('<>:"/\\|?*\x00\n ')
    assert names[:3] == ["p_heatmap_a-b.png", "p_heatmap_a-b-2.png", "p_heatmap_a-b-3.png"]
    assert paths["\u706f\u7b3c"].name == "p_heatmap_\u706f\u7b3c.png"
    assert paths["😀"].name == "p_heatmap_word.png"


def test_heatmaps_save_keeps_the_old_file_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = maps_of("sky").save(tmp_path)["sky"]
    before = path.read_bytes()

    def fail(self: Image.Image, file: Any, **kwargs: Any) -> None:
        file.write(b"half")
        raise RuntimeError("stopped")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        maps_of("sky").save(tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["segmentation_heatmap_sky.png"]
