"""Images one by one, each with the size of its answer; and a while in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

__all__ = ["each_image", "evaluating"]

Size = tuple[int, int]


def each_image(
    images: Tensor | Sequence[Tensor], size: Size | Sequence[Size] | None = None
) -> Iterator[tuple[Tensor, Size | None]]:
    """Each image (3, H, W) with the size of its answer; None where none is asked for.

    Args:
        images: (B, 3, H, W), or a sequence of (3, H, W) of different sizes.
        size: (h, w) of all answers, one for each image, or None.

    Returns:
        Pairs, checked before the first is given.

    Raises:
        ValueError: images of another shape, or sizes of another number.
    """
    for image in images:
        if image.dim() != 3 or image.shape[0] != 3:
            raise ValueError(
                f"images hold one of shape {tuple(image.shape)}; give (B, 3, H, W) or a sequence "
                "of (3, H, W), RGB in 0..255"
            )
    sizes: Sequence[Size | None]
    if size is None or isinstance(size[0], int):
        sizes = [cast("Size | None", size)] * len(images)
    else:
        sizes = cast("Sequence[Size]", size)
    if len(sizes) != len(images):
        raise ValueError(f"{len(sizes)} sizes for {len(images)} images; give one for each, or one")
    return zip(images, sizes, strict=True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; parts may be shared with something in training."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True
