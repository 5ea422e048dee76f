"""Description of a file that is not a weight file, from its first bytes."""

import string

__all__ = ["identify"]

_UNPACK = "unpack it, and give the file inside"
_IMAGE = "give a file of weights"
_MAGIC = (
    (b"\x89PNG", "a PNG image", _IMAGE),
    (b"\xff\xd8\xff", "a JPEG image", _IMAGE),
    (b"GIF8", "a GIF image", _IMAGE),
    (b"BM", "a BMP image", _IMAGE),
    (b"II*\0", "a TIFF image", _IMAGE),
    (b"MM\0*", "a TIFF image", _IMAGE),
    (b"%PDF", "a PDF document", _IMAGE),
    (b"\x1f\x8b", "a file packed by gzip", _UNPACK),
    (b"BZh", "a file packed by bzip2", _UNPACK),
    (b"\xfd7zXZ", "a file packed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x89HDF", "an HDF5 file, as Keras writes them", "give weights of PyTorch"),
    (b"\x93NUMPY", "a file of one numpy array", "give weights of PyTorch"),
    (b"GGUF", "a GGUF file", "give weights of PyTorch"),
)
_PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<body")
_PRINTABLE = frozenset(string.printable.encode())


def identify(head: bytes) -> tuple[str, str]:
    """Describe a file.

    Args:
        head: its first bytes, a few thousand.

    Returns:
        A clause such as "it is empty", and the remedy.
    """
    if not head:
        return "it is empty", "download it again"
    if head.startswith(b"version https://git-lfs"):
        return (
            "it is a git-lfs pointer, which stands for the weights in a repository",
            "run `git lfs pull` there, or download the file itself",
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGE):
        return (
            "it is an HTML page, which a server sent in place of the weights",
            "download the file itself (on Hugging Face by its /resolve/ link)",
        )
    for magic, kind, remedy in _MAGIC:
        if head.startswith(magic):
            return f"it is {kind}", remedy
    if head[8:12] == b"WEBP":
        return "it is a WebP image", _IMAGE
    if head[257:262] == b"ustar":
        return "it is a tar archive", _UNPACK
    if start.startswith((b'{"metadata"', b"{")) and b"weight_map" in head:
        return (
            "it is an index of weights in several files",
            "give one file that holds all weights",
        )
    if sum(byte in _PRINTABLE for byte in head) > 0.95 * len(head):
        words = " ".join(head[:200].decode("ascii", "replace").split())[:40]
        return f"it is a text that begins with {words!r}", "download the file itself"
    return "it is damaged, or of an unknown format", (
        "give a file of torch.save, a .safetensors or detectron2's .pkl"
    )
