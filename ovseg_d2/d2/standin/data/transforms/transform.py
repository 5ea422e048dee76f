"""The one transform that fvcore lacks: resizing as detectron2 does it."""

import numpy as np
import torch
from fvcore.transforms.transform import Transform
from PIL import Image
from torch.nn import functional as F

__all__ = ["ResizeTransform"]

_TORCH_MODES = {
    Image.Resampling.NEAREST: "nearest",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
}


class ResizeTransform(Transform):
    """Resize to a given size: uint8 through Pillow, which antialiases, floats through torch.

    Departs: detectron2 rejects bool and the wider integers; here they are resized to the nearest
    pixel's value, by pixel centres, so that a label map gives the same labels in any integer type.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None) -> None:
        """Choose both sizes.

        Args:
            h: height before.
            w: width before.
            new_h: height after.
            new_w: width after.
            interp: Pillow's resampling of images; bilinear by default. Label maps take the nearest.
        """
        super().__init__()
        self.h, self.w = h, w
        self.new_h, self.new_w = new_h, new_w
        self.interp = Image.Resampling.BILINEAR if interp is None else interp

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """Resize an image.

        Args:
            img: (h, w) or (h, w, C), of a type that ``interp`` can deal with.
            interp: in place of the transform's resampling.

        Returns:
            (new_h, new_w) or (new_h, new_w, C) of the same type.

        Raises:
            AssertionError: the image is not (h, w).
            TypeError: bool or integers other than uint8, with an ``interp`` that mixes values.
        """
        assert img.shape[:2] == (self.h, self.w), (
            f"ResizeTransform of {(self.h, self.w)} got an image of {img.shape[:2]}."
        )
        interp = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            return self._resize_uint8(img, interp)
        if img.dtype.kind == "f":
            return self._resize_float(img, interp)
        if interp != Image.Resampling.NEAREST:
            raise TypeError(
                f"An image of {img.dtype} cannot be interpolated; convert it to uint8 or a "
                "floating type, or use apply_segmentation for labels."
            )
        rows = self._nearest_ids(self.h, self.new_h)
        columns = self._nearest_ids(self.w, self.new_w)
        return img[rows[:, np.newaxis], columns]

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Scale (N, 2) points (x, y) in place, and return them."""
        coords[:, 0] *= self.new_w / self.w
        coords[:, 1] *= self.new_h / self.h
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Resize an (h, w) label map without mixing labels."""
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)

    def _resize_uint8(self, img: np.ndarray, interp: int) -> np.ndarray:
        # Pillow has no third axis of length one.
        is_single = img.ndim == 3 and img.shape[2] == 1
        pillow_image = Image.fromarray(img[:, :, 0] if is_single else img)
        resized = np.asarray(pillow_image.resize((self.new_w, self.new_h), interp))
        return resized[:, :, np.newaxis] if is_single else resized

    def _resize_float(self, img: np.ndarray, interp: int) -> np.ndarray:
        mode = _TORCH_MODES[Image.Resampling(interp)]
        # torch takes neither negative strides nor, without a warning, read-only memory.
        hwc = torch.from_numpy(np.require(img, requirements=["C", "W"])).reshape(self.h, self.w, -1)
        resized = F.interpolate(
            hwc.permute(2, 0, 1)[None],
            (self.new_h, self.new_w),
            mode=mode,
            align_corners=None if mode == "nearest" else False,
        )[0]
        shape = (self.new_h, self.new_w, *img.shape[2:])
        return resized.permute(1, 2, 0).reshape(shape).numpy()

    @staticmethod
    def _nearest_ids(size: int, new_size: int) -> np.ndarray:
        return ((np.arange(new_size) + 0.5) * size / new_size).astype(np.int64)
