import io
import os
import pickle
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, features

from ovseg_d2.data.images import IMAGE_SUFFIXES, ImageReadError, list_images, read_image
from ovseg_d2.image_errors import ImageTooLargeError

# 4 x 6 pixels without symmetry.
RGB = np.random.default_rng(7).integers(0, 256, (4, 6, 3), dtype=np.uint8)
RGB_16 = np.random.default_rng(8).integers(0, 65536, (4, 6, 3), dtype=np.uint16)
GREY_16 = RGB_16[..., 0]


def on_white(rgb, alpha):
    """Composite in floating point, the reference for the reader's integer arithmetic."""
    alpha = alpha[..., None].astype(np.float64) / 255
    return np.floor(rgb * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)


def chunk(name, content):
    """Part of a PNG."""
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def png_16(pixels, colour_type, transparent=b""):
    """Write a 16-bit PNG by hand, since Pillow cannot and OpenCV is under test."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write(path, data):
    path.write_bytes(data)
    return path


def check(path, expected):
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm", ".tga", ".jp2"])
def test_read_image_lossless_rgb(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    options = {".webp": {"lossless": True}, ".jp2": {"irreversible": False}}
    Image.fromarray(RGB).save(path, **options.get(suffix, {}))
    check(path, RGB)
    check(str(path), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_read_image_lossy_rgb(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    y, x = np.mgrid[0:48, 0:64]
    smooth = np.stack([x * 3, y * 4, 255 - x * 2 - y], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / f"a{suffix}", quality=95)
    difference = read_image(tmp_path / f"a{suffix}").astype(int) - smooth
    assert np.abs(difference).max() <= 12
    assert np.abs(difference).mean() <= 2


def test_read_image_ignores_the_suffix(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "wrong.jpg")
    check(tmp_path / "wrong.jpg", RGB)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_read_image_grey(tmp_path, suffix):
    grey = RGB[..., 0]
    Image.fromarray(grey).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pbm"])
def test_read_image_bilevel(tmp_path, suffix):
    black_white = RGB[..., 0] > 128
    Image.fromarray(black_white).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", np.repeat(black_white[..., None], 3, axis=2) * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_read_image_palette(tmp_path, suffix):
    indexed = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 128, 0, 10, 20, 30])
    indexed.save(tmp_path / f"a{suffix}")
    red, green, blue = [255, 0, 0], [0, 128, 0], [10, 20, 30]
    check(tmp_path / f"a{suffix}", [[red, green, blue], [blue, green, red]])


def test_read_image_palette_with_transparency(tmp_path):
    indexed = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 128, 0, 10, 20, 30])
    indexed.save(tmp_path / "a.png", transparency=bytes([255, 0, 51]))
    # A fifth of (10, 20, 30) and four fifths of white.
    check(tmp_path / "a.png", [[[255, 0, 0], [255, 255, 255], [206, 208, 210]]])
    indexed.save(tmp_path / "a.gif", transparency=1)
    check(tmp_path / "a.gif", [[[255, 0, 0], [255, 255, 255], [10, 20, 30]]])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_read_image_rgba_on_white(tmp_path, suffix):
    alpha = np.random.default_rng(1).integers(1, 256, (4, 6), dtype=np.uint8)
    alpha[0, :2] = 0, 255
    rgba = np.dstack([RGB, alpha])
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(rgba).save(tmp_path / f"a{suffix}", **options)
    check(tmp_path / f"a{suffix}", on_white(RGB, alpha))


def test_read_image_all_levels_and_alphas(tmp_path):
    """All 65536 pairs of level and alpha against floating point."""
    level, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    Image.fromarray(np.dstack([level, level, level, alpha])).save(tmp_path / "a.png")
    check(tmp_path / "a.png", on_white(np.dstack([level] * 3), alpha))


def test_read_image_grey_with_alpha(tmp_path):
    Image.fromarray(np.array([[[100, 255], [100, 51], [7, 0]]], dtype=np.uint8), "LA").save(
        tmp_path / "a.png"
    )
    check(tmp_path / "a.png", [[[100] * 3, [224] * 3, [255] * 3]])


def test_read_image_transparent_colour(tmp_path):
    image = np.array([[[1, 2, 3], [1, 2, 4]]], dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    check(tmp_path / "rgb.png", [[[255] * 3, [1, 2, 4]]])
    Image.fromarray(image[..., 2]).save(tmp_path / "grey.png", transparency=4)
    check(tmp_path / "grey.png", [[[3] * 3, [255] * 3]])


def test_read_image_cmyk(tmp_path):
    levels = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]
    Image.fromarray(np.array([levels], dtype=np.uint8), "CMYK").save(tmp_path / "a.tif")
    check(tmp_path / "a.tif", [[[255] * 3, [0, 255, 255], [255, 0, 0], [0] * 3]])
    flat = np.full((16, 16, 4), [0, 255, 255, 0], dtype=np.uint8)
    Image.fromarray(flat, "CMYK").save(tmp_path / "a.jpg")
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 3


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


ALPHA_16 = np.random.default_rng(2).integers(0, 65536, (4, 6), dtype=np.uint16)
RGBA_16 = np.dstack([RGB_16, ALPHA_16])
GREY_8 = np.stack([GREY_16 >> 8] * 3, axis=-1)
RGBA_8 = on_white(RGB_16 >> 8, ALPHA_16 >> 8)
# Grey with alpha; and pairs whose second pixel has only the high bytes of the transparent one.
GREY_ALPHA = np.array([[[100 << 8, 0xFFFF], [100 << 8, 51 << 8], [7, 0]]], dtype=np.uint16)
GREY_PAIR = np.array([[0x1234, 0x1235]], dtype=np.uint16)
RGB_PAIR = np.array([[[0x1234, 0x5678, 0x9ABC], [0x1234, 0x5678, 0x9ABD]]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png_16(GREY_16, 0), GREY_8, id="grey png"),
        pytest.param(tiff(GREY_16), GREY_8, id="grey tiff"),
        pytest.param(tiff(GREY_16, byteorder=">"), GREY_8, id="big-endian tiff"),
        pytest.param(tiff(65535 - GREY_16, photometric="miniswhite"), GREY_8, id="white is zero"),
        pytest.param(b"P5 6 4 65535\n" + GREY_16.astype(">u2").tobytes(), GREY_8, id="pgm"),
        pytest.param(png_16(RGB_16, 2), RGB_16 >> 8, id="rgb png"),
        pytest.param(tiff(RGB_16, photometric="rgb"), RGB_16 >> 8, id="rgb tiff"),
        pytest.param(
            tiff(RGB_16, photometric="rgb", byteorder=">", compression="zlib"),
            RGB_16 >> 8,
            id="compressed tiff",
        ),
        pytest.param(png_16(RGBA_16, 6), RGBA_8, id="rgba png"),
        pytest.param(
            tiff(RGBA_16, photometric="rgb", extrasamples=["unassalpha"]), RGBA_8, id="rgba tiff"
        ),
        pytest.param(png_16(GREY_ALPHA, 4), [[[100] * 3, [224] * 3, [255] * 3]], id="grey alpha"),
        pytest.param(
            png_16(GREY_PAIR, 0, b"\x12\x34"), [[[255] * 3, [0x12] * 3]], id="transparent grey"
        ),
        pytest.param(
            png_16(RGB_PAIR, 2, b"\x12\x34\x56\x78\x9a\xbc"),
            [[[255] * 3, [0x12, 0x56, 0x9A]]],
            id="transparent colour",
        ),
    ],
)
def test_read_image_16_bits(tmp_path, data, expected):
    check(write(tmp_path / "a", data), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_read_image_exif_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(RGB).save(path, exif=exif, **options.get(suffix, {}))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape[:2] == ((4, 6) if orientation < 5 else (6, 4))
    check(path, expected)


def test_read_image_exif_orientation_by_hand(tmp_path):
    """Orientation 6: the stored first row is the right column of the upright image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape == (6, 4, 3)
    np.testing.assert_array_equal(pixels[:, -1], RGB[0])


def test_read_image_orientation_with_16_bits_and_alpha(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY_16, extratags=[(0x0112, "H", 1, 3, True)])
    check(path, np.stack([GREY_16 >> 8] * 3, axis=-1)[::-1, ::-1])
    exif = Image.Exif()
    exif[0x0112] = 4
    Image.fromarray(np.dstack([RGB, RGB[..., 0]])).save(tmp_path / "b.png", exif=exif)
    check(tmp_path / "b.png", on_white(RGB, RGB[..., 0])[::-1])


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x01"]
)
def test_read_image_ignores_damaged_exif(tmp_path, exif):
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    check(tmp_path / "a.png", RGB)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_read_image_first_frame(tmp_path, suffix):
    frames = [Image.fromarray(np.full((4, 6, 3), level, np.uint8)) for level in (255, 0, 40)]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    check(path, np.full((4, 6, 3), 255))


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (1, 9)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".gif"])
def test_read_image_one_pixel_wide(tmp_path, size, suffix):
    Image.new("RGB", size, (255, 255, 255)).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", np.full((*size[::-1], 3), 255))


def assert_refused(path, *words):
    """Expect one sentence with the file, the problem and a remedy."""
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"cannot read {path}: ")
    assert "; " in sentence
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_read_image_missing_folder_and_empty(tmp_path):
    assert_refused(tmp_path / "no.png", "no such file", "check the path")
    assert_refused(tmp_path, "it is a folder", "give the name")
    (tmp_path / "empty.png").touch()
    assert_refused(tmp_path / "empty.png", "0 bytes", "again")
    assert_refused(tmp_path / "empty.png" / "below.png", "no such file")
    assert_refused(tmp_path / ("a" * 300), "too long")


def test_read_image_without_permission(tmp_path, monkeypatch):
    """The error is simulated, since tests may run as root."""
    Image.fromarray(RGB).save(tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    assert_refused(tmp_path / "a.png", "Permission denied", "permissions")


@pytest.mark.parametrize(
    "data", [b"hello, this is no image", b"%PDF-1.4 and so on", b"\x89PNG\r\n\x1a\n", b"\0" * 500]
)
def test_read_image_of_other_files(tmp_path, data):
    assert_refused(write(tmp_path / "a.png", data), "no image", "convert it")


def test_read_image_refuses_postscript(tmp_path):
    path = write(tmp_path / "a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with Image.open(path) as image:
        assert image.format == "EPS"
    assert_refused(path, "no image")


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".gif", ".ppm", ".jp2"]
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_read_image_truncated(tmp_path, suffix, share):
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole{suffix}")
    data = (tmp_path / f"whole{suffix}").read_bytes()
    path = write(tmp_path / f"a{suffix}", data[: int(len(data) * share)])
    assert_refused(path, "damaged")


@pytest.mark.parametrize("width", [0, 5])
def test_read_image_without_pixels(tmp_path, width):
    height = 5 - width
    png = png_16(np.zeros((max(height, 1), max(width, 1)), np.uint16), 0)
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    png = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    bmp = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    gif = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"
    for name, data in {"a.png": png, "a.bmp": bmp, "a.gif": gif}.items():
        assert_refused(write(tmp_path / name, data), f"{width} x {height} pixels", "leave it out")


def test_read_image_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (20, 11)).save(tmp_path / "a.png")
    assert_refused(tmp_path / "a.png", "220 pixels", "MAX_IMAGE_PIXELS")
    Image.new("RGB", (10, 10)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").shape == (10, 10, 3)


def test_read_image_too_long_side(tmp_path):
    """A file of few bytes and one row, with fewer pixels than Pillow refuses."""
    for width, height in ((178_000_000, 1), (1, 178_000_000), (65_536, 2)):
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
        path = write(tmp_path / "a.png", data)
        assert_refused(path, f"{width} x {height} pixels", "65535", "cut it")
        with pytest.raises(ImageTooLargeError):
            read_image(path)
    Image.new("L", (65_535, 1)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").shape == (1, 65_535, 3)


def test_read_image_without_memory(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", refuse)
    assert_refused(tmp_path / "a.png", "more memory than there is", "shrink it")
    with pytest.raises(ImageTooLargeError):
        read_image(tmp_path / "a.png")


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert_refused(tmp_path / "a.png", "pipe or device", "save it")
    assert_refused("/dev/zero", "pipe or device")
    with pytest.raises(ImageReadError, match="pipe or device"):
        list_images([tmp_path / "a.png"])


@pytest.mark.parametrize(
    "name",
    ["https://host/a.png", "http://host/a.png?x=1", "s3://bucket/*.png", "file:///tmp/a.png"],
)
def test_addresses_are_refused(name):
    assert_refused(name, "it is an address", "give a file")
    with pytest.raises(ImageReadError, match="it is an address"):
        list_images([name])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_read_image_turned_uncompressed_tiff(tmp_path, mode, orientation):
    """Pillow maps these into memory with swapped sides when it opens a file by name."""
    pixels = np.random.default_rng(5).integers(0, 256, (4, 9), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.tif", exif=exif)
    turns = {5: pixels.T, 6: pixels[::-1].T, 7: pixels[::-1, ::-1].T, 8: pixels[:, ::-1].T}
    check(tmp_path / "a.tif", np.repeat(turns[orientation][..., None], 3, axis=2))


def test_errors_print_names_on_one_line(tmp_path):
    name = os.fsdecode(b"a\nb\xff") + "9" * 2000 + ".png"
    for read in (read_image, lambda name: list_images([name])):
        with pytest.raises(ImageReadError) as caught:
            read(name)
        assert str(caught.value).startswith("cannot read a\\nb\\udcff999")
        assert len(str(caught.value)) < 1200 and str(caught.value).isprintable()


def test_names_of_no_file(tmp_path):
    with pytest.raises(ImageReadError, match=r"cannot read a\\x00b.png: it is no name of a file"):
        read_image("a\0b.png")
    for name in ("a\0b.png", "~no_such_user_here/a.png", "~no\0", "[\0*"):
        with pytest.raises(ImageReadError, match="check the path"):
            list_images([name])


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32, np.int16])
def test_read_image_refuses_unknown_white(tmp_path, kind):
    path = write(tmp_path / "a.tif", tiff(GREY_16.astype(kind)))
    assert_refused(path, "no known white", "8 or 16 bits")


def test_read_image_planes_of_16_and_8_bits(tmp_path):
    options = {"photometric": "rgb", "planarconfig": "separate"}
    path = write(tmp_path / "a.tif", tiff(RGB_16.transpose(2, 0, 1), **options))
    assert_refused(path, "16-bit planes", "interleaved")
    check(write(tmp_path / "b.tif", tiff(RGB.transpose(2, 0, 1), **options)), RGB)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".gif", ".jp2", ".tga"]
)
def test_read_image_damaged_bytes(tmp_path, suffix):
    """Randomly changed bytes give an image or an ImageReadError, no other error."""
    Image.fromarray(RGB.repeat(4, axis=0)).save(tmp_path / f"whole{suffix}")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    generator, refused = random.Random(5), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            assert read_image(write(tmp_path / "a", bytes(data))).ndim == 3
        except ImageReadError:
            refused += 1
    assert refused > 0


def test_image_read_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ImageReadError("cannot read a.png: no; try")))
    assert str(error) == "cannot read a.png: no; try"


@pytest.fixture
def image_folder(tmp_path, monkeypatch) -> Path:
    """A folder with images and other files, and subfolders."""
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "sub/c.webp", "sub/deep/d.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["b.PNG"], ["b.PNG"]),
        (["notes.txt"], ["notes.txt"]),
        (["."], ["a.jpg", "b.PNG"]),
        (["sub"], ["sub/c.webp"]),
        (["*"], ["a.jpg", "b.PNG"]),
        (["**"], ["a.jpg", "b.PNG", "sub/c.webp", "sub/deep/d.tif"]),
        (["**/*.tif"], ["sub/deep/d.tif"]),
        (["[ab].*"], ["a.jpg", "b.PNG"]),
        (["b.PNG", "."], ["b.PNG", "a.jpg"]),
        (["sub", "./b.PNG", "b.PNG", "sub/../sub/c.webp"], ["sub/c.webp", "b.PNG"]),
        ("a.jpg", ["a.jpg"]),
        (Path("a.jpg"), ["a.jpg"]),
    ],
)
def test_list_images(image_folder, inputs, expected):
    assert list_images(inputs) == [Path(name) for name in expected]


def test_list_images_home_folder_and_brackets(image_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(image_folder))
    (image_folder / "a[1].png").write_bytes(b"x")
    assert list_images(["~/a.jpg"]) == [image_folder / "a.jpg"]
    assert list_images(["a[1].png"]) == [Path("a[1].png")]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "the list is empty"),
        (["no.png"], "cannot read no.png: there is no such file; check the path"),
        (["a.jpg", "no.png"], "cannot read no.png"),
        (["*.gif"], r"cannot read \*.gif: the pattern holds no images"),
        (["*.txt"], "the pattern holds no images"),
        (["folder.png"], "the folder holds no images"),
    ],
)
def test_list_images_refuses_other_inputs(image_folder, inputs, message):
    with pytest.raises(ImageReadError, match=message):
        list_images(inputs)


def test_list_images_refuses_empty_file(image_folder):
    Path("zero.png").touch()
    with pytest.raises(ImageReadError, match="zero.png: it is empty"):
        list_images(["a.jpg", "zero.png"])


def test_image_suffixes_are_those_of_known_formats():
    Image.init()
    known = Image.registered_extensions()
    missing = {suffix for suffix in IMAGE_SUFFIXES if suffix not in known}
    assert missing <= {".avif"}, "a Pillow without AVIF is the one exception"
    assert os.path.splitext("a.TIF")[1].lower() in IMAGE_SUFFIXES
