"""Files of pairs: round trips, broken lines, and checks of masks."""

import json

import numpy as np
import pytest

from ovseg_d2.masks import MaskPair, PairFileError, encode_masks, read_pairs, write_pairs


def pair_of(mask: np.ndarray, noun: str = "red star", image: str = "a/b.jpg", **more) -> MaskPair:
    return MaskPair(image, encode_masks(mask[None])[0], noun, **more)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:6] = True
    return mask


def test_read_pairs_returns_what_was_written(tmp_path, mask):
    pairs = [
        pair_of(mask, caption="a red star on grass", score=0.25),
        pair_of(~mask, "été", "shapes://train/0/3"),
        pair_of(mask, image="/abs/c.png"),
    ]
    path = tmp_path / "below" / "pairs.jsonl"
    assert write_pairs(path, iter(pairs), {"masks": "sam"}) == 3
    found = read_pairs(path)
    assert found.pairs == pairs
    assert (found.info, found.left_out.reasons) == ({"masks": "sam"}, [])
    assert (found.pairs[1].decode((5, 7)) == ~mask).all()
    # One JSON object per line for all texts.
    assert [sorted(json.loads(line)) for line in path.read_text().splitlines()] == [
        ["info"],
        ["caption", "image", "mask", "noun", "score"],
        ["image", "mask", "noun"],
        ["image", "mask", "noun"],
    ]


def test_read_pairs_joins_images_to_the_image_root(tmp_path, mask):
    names = ["a/b.jpg", "shapes://train/0/3", "/abs/c.png"]
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [pair_of(mask, image=name) for name in names], {"image_root": "/data"})
    read = [pair.image for pair in read_pairs(path).pairs]
    assert read == ["/data/a/b.jpg", "shapes://train/0/3", "/abs/c.png"]


BROKEN = {
    "cut off": ('{"image": "a.jpg", "noun": "do', "is cut off or no JSON"),
    "another type": ("[1, 2]", "is a list and no JSON object"),
    "no noun": ('{"image": "a.jpg", "mask": {"size": [1, 1], "counts": "1"}}', "has the noun None"),
    "blank image": ('{"image": " ", "noun": "dog"}', "has the image ' ', which is no text"),
    "no mask": ('{"image": "a.jpg", "noun": "dog"}', "has no mask"),
    "a polygon": ('{"image": "a", "noun": "b", "mask": [[0, 0, 1, 1]]}', "has no mask"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_read_pairs_leaves_broken_lines_out(tmp_path, mask, case):
    line, words = BROKEN[case]
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [pair_of(mask), pair_of(mask, "dog")], {})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, lines[2]]))
    found = read_pairs(path)
    assert [pair.noun for pair in found.pairs] == ["red star", "dog"]
    (problem,) = found.left_out.reasons
    assert problem.startswith("line 3 ") and words in problem
    path.write_text(line)
    with pytest.raises(PairFileError, match=r"holds no pair \(line 1 .*make it again with tools/m"):
        read_pairs(path)


def test_read_pairs_refuses_files_without_pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(PairFileError, match="there is no such file; make it with tools/mine_pairs"):
        read_pairs(path)
    with pytest.raises(PairFileError, match="the system says 'Is a directory'"):
        read_pairs(tmp_path)
    path.write_text("\n")
    with pytest.raises(PairFileError, match="it is empty"):
        read_pairs(path)
    write_pairs(path, [], {"masks": "sam"})
    assert read_pairs(path).pairs == []  # a part of a job that found nothing


def test_write_pairs_keeps_the_old_file_on_failure(tmp_path, mask):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [pair_of(mask)], {})

    def fails():
        yield pair_of(mask, "dog")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(path, fails(), {})
    assert [pair.noun for pair in read_pairs(path).pairs] == ["red star"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize("size", [(4, 7), (7, 5), (50, 70)])
def test_decode_refuses_a_mask_of_another_size(mask, size):
    with pytest.raises(ValueError, match=r"'red star' in a/b.jpg has the size \[5, 7\] instead of"):
        pair_of(mask).decode(size)


def test_decode_refuses_empty_and_broken_masks(mask):
    with pytest.raises(ValueError, match="the mask of 'red star' in a/b.jpg is empty; leave it"):
        pair_of(np.zeros_like(mask)).decode((5, 7))
    broken = MaskPair("a.jpg", {"size": [5, 7], "counts": "1"}, "dog")
    with pytest.raises(ValueError, match="the mask of 'dog' in a.jpg does not decode"):
        broken.decode((5, 7))


def test_read_pairs_leaves_unusable_values_out(tmp_path, mask):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [pair_of(mask, "dog", "\udcff.jpg", score=0.5)], {})
    good = path.read_text().splitlines()[1]
    bad = {
        "the score 1": good.replace("0.5", "1" + "0" * 400),
        "the score NaN".lower(): good.replace("0.5", "NaN"),
        "no UTF-8": good.replace("dog", "d?g"),
        "the noun '\\ud800'": good.replace("dog", r"\ud800"),
        "the image 'a\\x00b'": good.replace(r"\udcff.jpg", r"a\u0000b"),
    }
    for words, line in bad.items():
        damaged = line.encode().replace(b"d?g", b"d\xffg")
        path.write_bytes(b"\n".join([good.encode(), damaged, good.encode()]))
        found = read_pairs(path)
        assert [pair.image for pair in found.pairs] == ["\udcff.jpg"] * 2
        assert found.left_out.count == 1
        assert words in found.left_out.reasons[0], (words, found.left_out.reasons)
