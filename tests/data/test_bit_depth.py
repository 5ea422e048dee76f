import logging
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile

from ovseg_d2.data import bit_depth
from ovseg_d2.data.images import read_image

GENERATOR = np.random.default_rng(11)
SIZE = (8, 6)


@pytest.fixture(autouse=True)
def forget_notes():
    bit_depth._note.cache_clear()


def random_values(bits, channels=3):
    values = GENERATOR.integers(0, 1 << bits, (*SIZE, channels), dtype=np.uint16)
    values[0, 0] = (1 << bits) - 1
    return values


def write_png(path, values, significant=None):
    """Write a 16-bit PNG by hand; the number of channels decides the colour type."""

    def chunk(name, content):
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    channels = values.shape[2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    sbit = b"" if significant is None else chunk(b"sBIT", bytes([significant] * channels))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + sbit
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def write_tiff(path, values, **options):
    photometric = "rgb" if values.shape[2] >= 3 else "minisblack"
    extra = {"extrasamples": ["unassalpha"]} if values.shape[2] == 4 else {}
    data = values[..., 0] if values.shape[2] == 1 else values
    tifffile.imwrite(path, data, photometric=photometric, **extra, **options)
    return path


def as_rgb(levels):
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels


@pytest.mark.parametrize("write", [write_png, write_tiff])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_read_image_scales_unused_bits_with_a_warning(tmp_path, caplog, write, channels, bits):
    values = random_values(bits, channels)
    path = write(tmp_path / "a", values)
    with caplog.at_level(logging.WARNING):
        pixels = read_image(path)
        read_image(path)
    np.testing.assert_array_equal(pixels, as_rgb((values >> (bits - 8)).astype(np.uint8)))
    assert len(caplog.records) == 1
    text = caplog.records[0].getMessage()
    assert str(path) in text and f"{bits} bits in 16" in text and str((1 << bits) - 1) in text


@pytest.mark.parametrize("write", [write_png, write_tiff])
def test_read_image_alpha_uses_16_bits(tmp_path, write):
    values = np.dstack([random_values(12), np.full(SIZE, 0xFFFF, np.uint16)])
    values[2, 3] = 0  # transparent, which becomes white
    expected = (values[..., :3] >> 4).astype(np.uint8)
    expected[2, 3] = 255
    np.testing.assert_array_equal(read_image(write(tmp_path / "a", values)), expected)


def test_read_image_12_bit_grey_with_alpha(tmp_path):
    values = np.dstack([random_values(12, 1), np.full(SIZE, 0xFFFF, np.uint16)])
    expected = as_rgb((values[..., :1] >> 4).astype(np.uint8))
    np.testing.assert_array_equal(read_image(write_png(tmp_path / "a", values)), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_read_image_uses_declared_bits(tmp_path, channels):
    values = random_values(12, channels) >> 3  # a dark image of 12 bits: below 512
    expected = as_rgb((values >> 4).astype(np.uint8))
    png = write_png(tmp_path / "a.png", values, significant=12)
    np.testing.assert_array_equal(read_image(png), expected)
    tiff = write_tiff(tmp_path / "a.tif", values, extratags=[(281, "H", 1, 4095, True)])
    np.testing.assert_array_equal(read_image(tiff), expected)
    values = random_values(14, channels)
    expected = as_rgb((values >> 6).astype(np.uint8))
    tiff = write_tiff(tmp_path / "b.tif", values, extratags=[(281, "H", 1, 16383, True)])
    np.testing.assert_array_equal(read_image(tiff), expected)


@pytest.mark.parametrize("factor", [16, 257])
@pytest.mark.parametrize("significant", [None, 12])
def test_read_image_scaled_dark_image(tmp_path, caplog, factor, significant):
    values = GENERATOR.integers(0, 4096 // factor, (*SIZE, 3), dtype=np.uint16) * factor
    path = write_png(tmp_path / "a.png", values.astype(np.uint16), significant=significant)
    np.testing.assert_array_equal(read_image(path), (values >> 8).astype(np.uint8))
    assert not caplog.records


@pytest.mark.parametrize("channels", [1, 3])
def test_read_image_13_to_16_bits(tmp_path, caplog, channels):
    for bits in (13, 14, 16):
        values = random_values(bits, channels)
        path = write_png(tmp_path / f"{bits}.png", values)
        np.testing.assert_array_equal(read_image(path), as_rgb((values >> 8).astype(np.uint8)))
    assert not caplog.records


def test_read_image_black_without_a_warning(tmp_path, caplog):
    for channels in (1, 3):
        path = write_png(tmp_path / f"{channels}.png", np.zeros((*SIZE, channels), np.uint16))
        assert not read_image(path).any()
    assert not caplog.records


def test_read_image_12_bit_white_is_zero_and_orientation(tmp_path):
    values = random_values(12, 1)
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, values[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path), as_rgb(255 - (values >> 4)))
    values = random_values(12)
    path = write_tiff(tmp_path / "a.tif", values, extratags=[(0x0112, "H", 1, 3, True)])
    np.testing.assert_array_equal(read_image(path), (values >> 4)[::-1, ::-1])


def test_read_image_packed_12_bit_tiff(tmp_path):
    """BitsPerSample 12: two values in three bytes, which Pillow unpacks without scaling."""
    values = random_values(12, 1)[..., 0]
    flat = values.reshape(-1, 2).astype(np.uint32)
    packed = (flat[:, 0] << 12 | flat[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    data = packed.tobytes()
    tags = [(256, 3, SIZE[1]), (257, 3, SIZE[0]), (258, 3, 12), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8 + 2 + 9 * 12 + 4), (277, 3, 1), (278, 3, SIZE[0]), (279, 4, len(data))]
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags
    )
    header = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(header + data)
    expected = as_rgb((values >> 4).astype(np.uint8)[..., None])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)


def test_used_bits_by_the_largest_value():
    for largest, bits in ((1, 8), (255, 8), (259, 10), (1023, 10), (1025, 12), (4095, 12)):
        assert bit_depth.used_bits(np.array([largest], np.uint16)) == bits
    for largest in (0, 4097, 65535):
        assert bit_depth.used_bits(np.array([largest], np.uint16)) == 16
    assert bit_depth.used_bits(np.array([5000], np.uint16), declared=12) == 16


def test_significant_bits_of_a_chunk_without_an_end(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**32 - 1, b"junk"))
    assert bit_depth._significant_bits(path) is None
    assert os.path.getsize(path) == 16
