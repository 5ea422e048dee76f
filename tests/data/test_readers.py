"""Images and label maps, of files and of the Shapes world."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.data import shapes
from ovseg_d2.data.images import ImageReadError
from ovseg_d2.data.readers import read_captions, read_category, read_image_of, read_labels

LABELS = np.array([[0, 1, 255], [7, 0, 2]], dtype=np.uint8)


def test_readers_of_shapes_names():
    np.testing.assert_array_equal(
        read_image_of("shapes://val/0/1"), shapes.read_image("shapes://val/0/1")
    )
    labels = read_labels("shapes://val/0/1")
    np.testing.assert_array_equal(labels, shapes.read_labels("shapes://val/0/1"))
    assert labels.dtype == np.int64
    labels[0, 0] = 3  # evaluators write into labels
    assert shapes.read_labels("shapes://val/0/1")[0, 0] != 3


def test_read_image_of_a_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image_of(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(read_image_of(str(tmp_path / "a.png")), pixels)
    with pytest.raises(ImageReadError):
        read_image_of(tmp_path / "b.png")


@pytest.mark.parametrize("kind", ["grey", "16 bits", "palette", "tiff"])
@pytest.mark.parametrize("dtype", [int, np.uint8, "int32"])
def test_read_labels_formats(tmp_path, kind, dtype):
    file = tmp_path / ("labels.tif" if kind == "tiff" else "labels.png")
    image = Image.fromarray(LABELS.astype(np.uint16) if kind == "16 bits" else LABELS)
    if kind == "palette":
        image.putpalette([value for i in range(256) for value in (i, 255 - i, 9)])
        assert image.mode == "P"
    image.save(file)
    labels = read_labels(file, dtype=dtype)
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.dtype(dtype)
    labels[0, 0] = 1


def grey_png(values, bits):
    """A greyscale PNG of few bits, which Pillow cannot write."""
    digits = ["".join(f"{value:0{bits}b}" for value in row) for row in values.tolist()]
    digits = [row + "0" * (-len(row) % 8) for row in digits]
    rows = [b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in digits]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_read_labels_png_of_few_bits(tmp_path, bits):
    labels = np.arange(15).reshape(3, 5) % 2**bits
    (tmp_path / "labels.png").write_bytes(grey_png(labels, bits))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


@pytest.mark.parametrize("most", [5, 255, 300, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_read_labels_pgm(tmp_path, most, plain):
    labels = np.array([[0, 1, 5], [most, most // 2, 3]])
    data = labels.astype(">u2" if most > 255 else "u1").tobytes()
    text = " ".join(map(str, labels.ravel())).encode()
    header = f"P{2 if plain else 5} 3 2 {most}\n".encode()
    (tmp_path / "labels.pgm").write_bytes(header + (text if plain else data))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.pgm"), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_read_labels_tiff_of_few_bits(tmp_path, bits):
    labels = np.arange(15).reshape(3, 5) % 2**bits
    digits = ["".join(f"{value:0{bits}b}" for value in row) for row in labels.tolist()]
    digits = [row + "0" * (-len(row) % 8) for row in digits]
    pixels = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in digits)
    # Width, height, bits, no compression, black is zero, offset, rows a strip, bytes.
    tags = {256: 5, 257: 3, 258: bits, 259: 1, 262: 1, 273: 8, 278: 3, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = 8 + len(pixels)
    header = struct.pack("<2sHI", b"II", 42, start)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "labels.tif").write_bytes(header + pixels + directory)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif"), labels)


def test_read_labels_16_bits(tmp_path):
    labels = np.array([[846, 65535]], dtype=np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


def test_read_labels_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="label file '.*none.png' does not exist; check"):
        read_labels(tmp_path / "none.png")


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_read_labels_refuses_damaged_files(tmp_path, content):
    file = tmp_path / "labels.png"
    if content == "cut":
        Image.fromarray(np.random.default_rng(0).integers(0, 99, (64, 64), dtype="u1")).save(file)
        content = file.read_bytes()[:-200]
    file.write_bytes(content)
    with pytest.raises(ValueError, match="label file '.*labels.png' cannot be read"):
        read_labels(file)


def test_read_labels_checks_the_png_checksum(tmp_path):
    file = tmp_path / "labels.png"
    file.write_bytes(grey_png(np.arange(16).reshape(4, 4), 4))
    read_labels(file)
    whole = zlib.compress(bytes(12))
    other = grey_png(np.zeros((4, 4), dtype=int), 4)
    assert whole in other
    pixels = zlib.compress(b"".join(b"\0\1\2" for _ in range(4)))
    data = other.replace(whole, pixels)
    length = struct.pack(">I", len(whole)) + b"IDAT"
    file.write_bytes(data.replace(length, struct.pack(">I", len(pixels)) + b"IDAT"))
    with pytest.raises(ValueError, match="labels.png' cannot be read .*checksum"):
        read_labels(file)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_read_labels_refuses_colours_and_fractions(tmp_path, mode):
    file = tmp_path / "labels.tif"
    Image.fromarray(LABELS).convert(mode).save(file)
    with pytest.raises(ValueError, match="label maps have one channel that holds class ids"):
        read_labels(file)


def test_read_labels_refuses_too_many_pixels(tmp_path, monkeypatch):
    Image.fromarray(LABELS).save(tmp_path / "labels.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ValueError, match="labels.png' cannot be read .*decompression bomb"):
        read_labels(tmp_path / "labels.png")


def test_read_captions_and_read_category():
    name = "shapes://dev/0/5"
    assert read_captions({"file_name": name}) == shapes.read_captions(name)
    assert read_captions({"file_name": name, "captions": ["a dog"]}) == ["a dog"]
    assert read_category({"file_name": name}) == shapes.read_crop(name)[1]
    assert read_category({"file_name": name, "category_id": 0}) == 0
    for captions in (None, [], "a dog"):
        with pytest.raises(ValueError, match="a.png: its captions are .*; add a list of texts"):
            read_captions({"file_name": "a.png", "captions": captions})
    for category in (None, "dog", 1.5):
        with pytest.raises(ValueError, match="a.png: its class is .*; add a class id"):
            read_category({"file_name": "a.png", "category_id": category})


def test_read_labels_names_the_file_that_memory_does_not_suffice_for(tmp_path, monkeypatch):
    path = tmp_path / "labels.tif"
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    with pytest.raises(ValueError, match=r"label file '.*labels\.tif' cannot be read"):
        read_labels(path)


def test_read_labels_refuses_endless_sides(tmp_path):
    path = tmp_path / "labels.png"
    Image.fromarray(np.zeros((70_000, 1), np.uint8)).save(path)
    with pytest.raises(ValueError, match="1 x 70000 pixels, and no side may have more than 65535"):
        read_labels(path)
