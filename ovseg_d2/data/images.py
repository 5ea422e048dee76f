"""Reading any image file as 8-bit RGB, and listing the image files that a command line names.

Pillow reads every format. Its errors with 16 bits are corrected here: it clips greyscale at 255, it
compares the transparent colour of an RGB PNG with pixels of 8 bits (OpenCV reads those), and it
mistakes the bytes of a TIFF's separate colour planes for pixels (those are refused). Of 16 bits the
high byte is kept in every format, as Pillow does for RGB; of a file that uses fewer bits (10 or 12
in 16), the highest 8 of those, see `bit_depth`.
"""

import glob
import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from ..files import expand_user
from ..image_errors import ImageReadError, ImageTooLargeError
from ..json_files import printable
from .bit_depth import declared_bits, decode_16_bit, levels_of_16_bit

__all__ = [
    "DECODE_ERRORS",
    "IMAGE_SUFFIXES",
    "ImageReadError",
    "check_sides",
    "composite_on_white",
    "known_formats",
    "list_images",
    "read_image",
]

IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .bmp .dib .tif .tiff .webp .gif .jp2 .avif .ppm .pgm .pbm .pnm"
    " .tga".split()
)

# Without PostScript, which Pillow passes to an external program.
_FORMATS = "PNG JPEG MPO BMP DIB TIFF WEBP GIF JPEG2000 AVIF PPM TGA".split()

# Position and layout of width and height in headers. Pillow takes a zero there for another format.
_SIZE_FIELDS = {b"\x89PNG": (16, ">II"), b"BM": (18, "<ii"), b"GIF8": (6, "<HH")}

# Formats whose colours may have 16 bits.
_DEEP_FORMATS = ("PNG", "TIFF", "JPEG2000", "PPM")
# The longest side of a JPEG. An image with a longer one is a few pixels high and fills the memory.
_MAX_SIDE = 65535

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

# TIFF tags: meaning of 0 (white or black), bits of a sample, planes (2 is one per channel).
_PHOTOMETRIC, _BITS, _PLANAR = 262, 258, 284

# Errors of Pillow's decoders on damaged data.
DECODE_ERRORS = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image file of any kind as upright 8-bit RGB.

    The EXIF orientation is applied. Greyscale, bilevel, palette and CMYK images become RGB;
    transparency is composited on white; of 16 bits the high byte is kept; of an animation the first
    frame is read. Colour profiles are not applied. Pixels of unknown white (floating point, 32-bit
    or signed integers) are refused.

    Args:
        path: a PNG, JPEG, BMP, TIFF, WebP, GIF, JPEG 2000, AVIF, PNM or TGA file, recognised by its
            content, not its suffix.

    Returns:
        (H, W, 3) uint8 RGB, writable and contiguous; H, W >= 1.

    Raises:
        ImageReadError: the file is missing, an address, a folder, a pipe or device, empty,
            truncated, not an image, without pixels, or has values of unknown white.
        ImageTooLargeError: it has more pixels than `PIL.Image.MAX_IMAGE_PIXELS` allows, a side of
            more than 65535, or needs more memory than there is.
    """
    file = Path(path)
    _check_file(file, path)
    try:
        # Given a file name, Pillow maps the file into memory and swaps the sides of a TIFF whose
        # orientation turns it.
        with open(file, "rb") as stream, Image.open(stream, formats=known_formats()) as image:
            check_sides(file, image)
            image.load()
            return np.array(_turn_upright(_to_rgb(file, image), _orientation(image)), order="C")
    except ImageReadError:
        raise
    except UnidentifiedImageError as error:
        size = _zero_size(file)
        if size:
            raise _error(path, f"it has {size} pixels", "leave it out") from error
        raise _error(
            path, "it is no image of a known format, or damaged", "convert it to PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"cannot read {printable(path)}: it has too many pixels to be trusted ({error}); "
            "shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust its source"
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError(
            f"cannot read {printable(path)}: its pixels need more memory than there is; shrink it"
        ) from error
    except DECODE_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            problem = f"the system says {error.strerror!r}"
            raise _error(path, problem, "check the file and its permissions") from error
        raise _error(
            path, f"it is truncated or damaged ({error})", "copy or export it again"
        ) from error


def list_images(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List the image files that a command line names.

    Args:
        inputs: files of any suffix; folders, whose images are the visible files directly in them
            with one of `IMAGE_SUFFIXES`, sorted; and glob patterns, which match files of these
            suffixes (`**` goes through all subfolders).

    Returns:
        The files in the order of the inputs, without repeats.

    Raises:
        ImageReadError: the list is empty, or an entry names no file or no images.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    if not inputs:
        raise _error("no inputs", "the list is empty", "name an image, folder or pattern")
    files: dict[str, Path] = {}
    for item in inputs:
        for file in _expand(item):
            files.setdefault(os.path.abspath(file), file)
    return list(files.values())


def _expand(item: str | os.PathLike[str]) -> Iterator[Path]:
    if "\0" in os.fspath(item):
        raise _error(item, "it is no name of a file (it holds a zero byte)", "check the path")
    try:
        path = expand_user(item)
    except RuntimeError as error:  # "~" and the name of no user
        raise _error(item, f"it has no home folder ({error})", "check the path") from error
    if _ADDRESS.match(os.fspath(item)):
        _check_file(path, item)
    if os.path.isdir(path):
        files = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        kind = "the folder"
    elif os.path.exists(path) or not glob.has_magic(str(item)):
        _check_file(path)
        yield path
        return
    else:
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        kind = "the pattern"
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if not images:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise _error(
            item, f"{kind} holds no images", f"name one that does (known suffixes: {known})"
        )
    yield from images


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> ImageReadError:
    return ImageReadError(f"cannot read {printable(path)}: {problem}; {remedy}")


def known_formats() -> list[str]:
    """Names of the formats that this Pillow can read, for its argument ``formats``."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def check_sides(path: Path, image: Image.Image) -> None:
    """Raise ImageTooLargeError if a side of an opened image has more than 65535 pixels."""
    width, height = image.size
    if max(width, height) > _MAX_SIDE:
        raise ImageTooLargeError(
            f"cannot read {printable(path)}: it has {width} x {height} pixels, and no side may "
            f"have more than {_MAX_SIDE}; cut it into parts"
        )


def _check_file(path: Path, name: str | os.PathLike[str] | None = None) -> None:
    """Refuse a path that is no file; ``name`` still has the double slash of an address."""
    name = path if name is None else name
    if _ADDRESS.match(os.fspath(name)):
        raise _error(name, "it is an address, and nothing is downloaded", "give a file")
    try:
        status = path.stat()
    except OSError as error:
        remedy = "check the path"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise _error(path, "there is no such file", remedy) from error
        raise _error(path, f"the system says {error.strerror!r}", remedy) from error
    except ValueError as error:
        raise _error(path, f"it is no name of a file ({error})", "check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise _error(path, "it is a folder", "give the name of an image in it")
    if not stat.S_ISREG(status.st_mode):
        # Reading might never end.
        raise _error(path, "it is a pipe or device", "save it as a file")
    if status.st_size == 0:
        raise _error(path, "it is empty (0 bytes)", "copy or export it again")


def _to_rgb(path: Path, image: Image.Image) -> np.ndarray:
    """Convert a loaded image to (H, W, 3) uint8, before its orientation is applied."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _grey_16_to_rgb(path, image)
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit"
        raise _error(path, f"its {kind} values have no known white", "save it with 8 or 16 bits")
    if _tiff_tag(image, _PLANAR) == 2 and _tiff_tag(image, _BITS) == 16:
        # Pillow takes the bytes of such planes for pixels, without an error.
        problem = "its colours are 16-bit planes, one after the other"
        raise _error(path, problem, "save it with interleaved colours")
    if isinstance(image.info.get("transparency"), tuple) and _is_16_bit_png(path):
        rgba = decode_16_bit(path)
        if rgba is None or rgba.shape[2] != 4:
            raise _error(path, "its 16-bit transparent colour is unreadable", "save it with 8 bits")
        return _rgba_16_to_rgb(path, image, rgba)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        deep = _unused_bits(path, image, rgba[..., :3][rgba[..., 3] > 0])
        return composite_on_white(rgba) if deep is None else _rgba_16_to_rgb(path, image, deep)
    rgb = np.asarray(image.convert("RGB"))
    deep = _unused_bits(path, image, rgb)
    return rgb if deep is None else levels_of_16_bit(path, deep, declared_bits(path, image))


def _unused_bits(path: Path, image: Image.Image, levels: np.ndarray) -> np.ndarray | None:
    """Decode 16-bit colours if the high bytes suggest that the highest bits are unused.

    Args:
        path: of the file.
        image: the opened file.
        levels: uint8, the high bytes of the visible pixels.

    Returns:
        (H, W, 3 or 4) uint16; None if no bits seem unused.
    """
    if image.format not in _DEEP_FORMATS or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    # Up to 12 bits need no declaration.
    largest = (1 << (declared_bits(path, image) or 12)) - 1
    return decode_16_bit(path) if levels.max(initial=0) <= largest >> 8 else None


def _grey_16_to_rgb(path: Path, image: Image.Image) -> np.ndarray:
    grey = np.asarray(image).astype(np.uint16)
    key = image.info.get("transparency")
    levels = levels_of_16_bit(path, grey, declared_bits(path, image))
    if _tiff_tag(image, _PHOTOMETRIC) == 0:
        levels = 255 - levels  # "White is zero", which Pillow inverts in 8 bits only.
    if isinstance(key, int):
        levels[grey == key] = 255
    return np.repeat(levels[..., None], 3, axis=2)


def _rgba_16_to_rgb(path: Path, image: Image.Image, rgba: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) uint16 on white; alpha uses all 16 bits."""
    if rgba.shape[2] == 3:
        return levels_of_16_bit(path, rgba, declared_bits(path, image))
    visible = np.where(rgba[..., 3:] > 0, rgba[..., :3], 0)
    levels = levels_of_16_bit(path, visible, declared_bits(path, image))
    return composite_on_white(np.dstack([levels, (rgba[..., 3] >> 8).astype(np.uint8)]))


def composite_on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) uint8 with straight alpha on white, rounded to the nearest level."""
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)  # At most 65025.
    return ((mixed + 127) // 255).astype(np.uint8)


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation, 1 to 8, of which 1 is upright and 5 to 8 swap the sides."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _orientation(image: Image.Image) -> int:
    """Return the orientation to apply; loading has already turned TIFF and AVIF."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODE_ERRORS:
        return 1  # Damaged EXIF data is ignored.


def _tiff_tag(image: Image.Image, tag: int) -> int | None:
    """Return a tag of a TIFF, the first value if it has one per channel; None for other images."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(tag)
    return value[0] if isinstance(value, tuple) else value


def _is_16_bit_png(path: Path) -> bool:
    with open(path, "rb") as file:
        header = file.read(25)
    return header[:4] == b"\x89PNG" and header[24] == 16


def _zero_size(path: Path) -> str | None:
    """Return the size in a header ("0 x 5") if it holds a zero, else None."""
    with open(path, "rb") as file:
        header = file.read(32)
    for magic, (offset, layout) in _SIZE_FIELDS.items():
        if header.startswith(magic) and len(header) >= offset + struct.calcsize(layout):
            width, height = struct.unpack_from(layout, header, offset)
            return f"{width} x {height}" if width * height == 0 else None
    return None
