"""The proposals for one image: masks at any size, and the classes of each.

Shape shorthand: Q proposals, K classes, h x w locations, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.image_errors import need_memory
from ovseg_d2.ops import upsample_scores

__all__ = ["ImageProposals"]

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ImageProposals:
    """What is proposed for one image.

    Attributes:
        class_logits: (Q, K+1) float32, the last column being "no object".
        grid_logits: (Q, h, w) of the masks, on a grid that covers the padded image.
        padded_size: (h, w) in pixels of the padded image.
        image_size: (h, w) in pixels of the image, at the padded image's top left.
    """

    class_logits: Tensor
    grid_logits: Tensor
    padded_size: Size
    image_size: Size

    @property
    def class_probs(self) -> Tensor:
        """(Q, K): the softmax over all columns without its last; rows add up to 1 at most.

        Paper: [ovseg] Eq. (1), p_ik.
        """
        return self.class_logits.softmax(dim=1)[:, :-1]

    def mask_logits(self, size: Size | None = None) -> Tensor:
        """(Q, H, W) float32 at any size in pixels, that of the image by default.

        Raises:
            ImageTooLargeError: memory does not suffice for the masks.
        """
        count, (height, width) = len(self.grid_logits), self.padded_size
        need_memory(
            3 * 4 * count * height * width,  # logits, probabilities, and masks cut out with them
            self.grid_logits.device,
            f"{count} masks of {width} x {height} pixels",
        )
        return upsample_scores(self.grid_logits.float(), self.padded_size, self.image_size, size)

    def mask_probs(self, size: Size | None = None) -> Tensor:
        """(Q, H, W) in [0, 1]: probabilities at the image's size, resized where it is not ``size``.

        So it is done in [maskformer], whose sums of them are resized: logits that are resized to
        another size first would give other edges.
        """
        probs = self.mask_logits().sigmoid()
        if size is None or tuple(size) == tuple(self.image_size):
            return probs
        return F.interpolate(probs[None], size, mode="bilinear", align_corners=False)[0]
