"""From a model's output size back to the image's own."""

from torch import Tensor
from torch.nn import functional as F


def sem_seg_postprocess(
    result: Tensor, img_size: tuple[int, int], output_height: int, output_width: int
) -> Tensor:
    """Cut off the padding and resize to the wanted size.

    Args:
        result: (K, H, W) scores of the padded input.
        img_size: (h, w) of the input before padding.
        output_height: pixels wanted.
        output_width: pixels wanted.

    Returns:
        (K, output_height, output_width), bilinear with ``align_corners=False``; same dtype.
    """
    result = result[None, :, : img_size[0], : img_size[1]]
    size = (output_height, output_width)
    return F.interpolate(result, size=size, mode="bilinear", align_corners=False)[0]
