"""Crops of masks: worked values, loops and the official numbers."""

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.ops import (
    CropOptions,
    binarize_masks,
    cut_regions,
    expand_boxes,
    fill_background,
    mask_boxes,
    resize_regions,
)

_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]) * 255
_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]) * 255


def test_mask_boxes_worked_by_hand() -> None:
    masks = torch.zeros(4, 5, 7, dtype=torch.bool)
    masks[0, 1, 2] = True  # one pixel
    masks[1, 1, 3] = masks[1, 4, 0] = True  # two corners
    masks[2] = True
    assert mask_boxes(masks).tolist() == [[2, 1, 3, 2], [0, 1, 4, 5], [0, 0, 7, 5], [0, 0, 0, 0]]


def test_mask_boxes_equal_a_loop() -> None:
    masks = torch.rand(20, 9, 13) > 0.97
    for mask, box in zip(masks, mask_boxes(masks).tolist(), strict=True):
        ys, xs = mask.nonzero(as_tuple=True)
        expected = [0] * 4
        if len(ys):
            expected = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        assert box == expected


def test_expand_boxes_worked_by_hand() -> None:
    boxes = torch.tensor([[2, 1, 3, 2], [0, 0, 4, 4], [10, 10, 14, 13]])
    # The first grows to (1.5, 0.5, 3.5, 2.5), the second is cut at the image, the third reaches
    # (8, 8.5, 16, 14.5) and is cut to 15 pixels of width.
    expected = [[1, 0, 3, 2], [0, 0, 6, 6], [8, 8, 15, 14]]
    assert expand_boxes(boxes, 2.0, (20, 15)).tolist() == expected
    assert expand_boxes(boxes, 1.0, (20, 15)).tolist() == boxes.tolist()


def test_binarize_masks_threshold_is_outside() -> None:
    soft = torch.tensor([[[0.25, 0.5, 0.75]]])
    assert binarize_masks(soft, 0.5).tolist() == [[[False, False, True]]]
    binary = torch.tensor([[[True, False]]])
    assert binarize_masks(binary, 0.5) is binary


def test_fill_background_worked_by_hand() -> None:
    crop = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]])
    colour = torch.tensor([10.0, 20.0, 30.0])
    mask = torch.tensor([[True, False]])
    assert fill_background(crop, mask, colour).tolist() == [[[1, 10]], [[3, 20]], [[5, 30]]]
    assert fill_background(crop, mask, None) is crop
    blended = fill_background(crop, torch.tensor([[0.5, 0.25]]), colour)
    assert blended.tolist() == [[[5.5, 8.0]], [[11.5, 16.0]], [[17.5, 24.0]]]


def test_cut_regions_fills_the_rest_of_the_box() -> None:
    image = torch.arange(3 * 4 * 5.0).view(3, 4, 5)
    masks = torch.zeros(1, 4, 5, dtype=torch.bool)
    masks[0, 1, 1] = masks[0, 2, 3] = True
    crops, cut = cut_regions(image, masks, mask_boxes(masks), torch.full((3,), -1.0))
    assert crops[0][0].tolist() == [[6, -1, -1], [-1, -1, 13]]
    assert cut[0].tolist() == [[True, False, False], [False, False, True]]


def test_resize_regions_resizes_crops_independently() -> None:
    crops = [torch.rand(3, 5, 9), torch.rand(3, 1, 1)]
    masks = [torch.rand(5, 9) > 0.5, torch.ones(1, 1, dtype=torch.bool)]
    resized, resized_masks = resize_regions(crops, masks, (8, 6))
    assert resized.shape == (2, 3, 8, 6)
    torch.testing.assert_close(resized[1], crops[1].expand(3, 8, 6))
    # Nearest: pixel i of 8 shows floor(5 i / 8), pixel j of 6 shows floor(9 j / 6).
    rows = [5 * i // 8 for i in range(8)]
    columns = [9 * i // 6 for i in range(6)]
    assert torch.equal(resized_masks[0], masks[0][rows][:, columns])


def test_cut_regions_refuses_masks_of_another_size() -> None:
    with pytest.raises(ValueError, match="of the image's size"):
        cut_regions(torch.zeros(3, 4, 4), torch.zeros(1, 5, 5), torch.zeros(1, 4), None)


@pytest.mark.parametrize(
    "changes", [{"threshold": 1.0}, {"expand_ratio": 0.5}, {"fill": "grey"}, {"threshold": -0.1}]
)
def test_crop_options_refuse_values_out_of_range(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        CropOptions(**changes)


_RESIZED = ("official_settings", "fill_zero", "expand_2", "matting", "large_image")


@pytest.mark.parametrize("subcase", [*_RESIZED, "crops_only", "crops_only_expand_2_zero"])
def test_crops_equal_the_official_ones(parity, subcase: str) -> None:
    call = parity("ovseg_crops").subcases[subcase]
    args = call.args
    image, soft = _inputs(call)
    binary = binarize_masks(soft, args["mask_thr"])
    valid = binary.any(dim=(1, 2)) if binary.dim() == 3 else binary
    call.check("valid", valid)
    boxes = expand_boxes(mask_boxes(binary[valid]), args["mask_expand_ratio"], image.shape[1:])
    # The classifier crops normalised pixels, of which the mean is 0.
    normalised = (image - _MEAN.view(3, 1, 1)) / _STD.view(3, 1, 1)
    fill = torch.zeros(3) if args["mask_fill"] == "mean" else -_MEAN / _STD
    weights = (soft if args["mask_matting"] else binary)[valid]
    crops, masks = cut_regions(normalised, weights, boxes, fill)
    if not args["region_resized"]:
        call.check("crop_sizes", torch.tensor([crop.shape[1:] for crop in crops]))
        for number, (crop, mask) in enumerate(zip(crops, masks, strict=True)):
            call.check(f"crop.{number}", crop * _STD.view(3, 1, 1) + _MEAN.view(3, 1, 1))
            call.check(f"normalised_crop_mean.{number}", crop.mean(dim=(1, 2)))
            call.check(f"crop_mask.{number}", mask[None].float())
        return
    regions, region_masks = resize_regions(crops, masks, (224, 224))
    start_y, start_x, step = args["sample"]
    region_masks = region_masks[:, None].float()
    call.check("regions_sample", regions[..., start_y::step, start_x::step])
    call.check("region_masks_sample", region_masks[..., start_y::step, start_x::step])
    call.check("regions_mean", regions.mean(dim=(2, 3)))
    call.check("region_masks_mean", region_masks.mean(dim=(2, 3)))
    call.check("unnormalised_mean", regions.mean(dim=(2, 3)) * _STD + _MEAN)


def test_binarize_masks_equals_the_official_one(parity) -> None:
    call = parity("ovseg_crops").subcases["no_valid_mask"]
    _, soft = _inputs(call)
    call.check("valid", binarize_masks(soft, call.args["mask_thr"]).any(dim=(1, 2)))


def _inputs(call) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, H, W) float and soft masks (Q, H, W) of a subcase."""
    if "image" in call.inputs:
        return call.inputs["image"].float(), call.inputs["masks"]
    size = tuple(call.args["image_scale_nearest"])
    image = F.interpolate(call.inputs["image_small"][None].float(), size=size, mode="nearest")[0]
    rectangles = call.args["mask_rectangles"]
    masks = torch.full((len(rectangles), *size), call.args["mask_background"])
    for number, y0, y1, x0, x1, value in rectangles:
        masks[number, y0:y1, x0:x1] = value
    return image, masks
