"""Images of any sizes in one batch: padding, resizing, and the log of both."""

import pytest
import torch

from ovseg_d2.plugin.fitting import BatchPadder, ImageResizer

FILLS = {"image": 128, "sem_seg": 255, "masks": False}


def sample(height: int, width: int, **more) -> dict:
    generator = torch.Generator().manual_seed(height * width)
    image = torch.randint(0, 100, (3, height, width), dtype=torch.uint8, generator=generator)
    return {"image": image, "sem_seg": torch.zeros(height, width).long(), **more}


def test_padder_pads_to_whole_strides_of_one_size():
    batch = [sample(9, 13, masks=torch.ones(2, 9, 13).bool()), sample(12, 4, name="b")]
    padded = BatchPadder()(batch, (4, 6), FILLS)
    for new, old in zip(padded, batch, strict=True):
        height, width = old["image"].shape[1:]
        assert new["image"].shape == (3, 12, 18) and new["image"].dtype == torch.uint8
        assert (new["image"][:, :height, :width] == old["image"]).all()
        assert (new["image"][:, height:] == 128).all() and (new["image"][..., width:] == 128).all()
        assert new["sem_seg"].shape == (12, 18) and new["sem_seg"].dtype == torch.int64
        assert (new["sem_seg"] == 255).sum() == 12 * 18 - height * width
    assert padded[0]["masks"].sum() == 2 * 9 * 13 and padded[0]["masks"].dtype == torch.bool
    assert padded[1]["name"] == "b" and "masks" not in padded[1]
    assert batch[0]["image"].shape == (3, 9, 13)


def test_padder_and_resizer_log_once(caplog):
    pad, resize = BatchPadder(), ImageResizer()
    with caplog.at_level("INFO"):
        for _ in range(2):
            pad([sample(8, 8)], (4, 4), FILLS)
            resize([torch.rand(1, 3, 8, 8)], (8, 8))
        assert not caplog.text
        for _ in range(2):
            pad([sample(5, 8)], (4, 4), FILLS)
            resize([torch.rand(1, 3, 8, 9)], (8, 8))
    assert caplog.text.count("no multiples of 4 x 4 pixels, are padded at the bottom") == 1
    assert caplog.text.count("larger than CLIP's own 8 x 8 pixels, are resized to that") == 1


def test_padder_keeps_a_fitting_batch():
    batch = [sample(8, 12), sample(8, 12)]
    assert all(
        new is old for new, old in zip(BatchPadder()(batch, (4, 4), FILLS), batch, strict=True)
    )


def test_padder_pads_empty_masks():
    (padded,) = BatchPadder()([sample(5, 5, masks=torch.zeros(0, 5, 5).bool())], (4, 4), FILLS)
    assert padded["masks"].shape == (0, 8, 8)


def test_padder_refuses_labels_of_another_size():
    with pytest.raises(ValueError, match="a.jpg has 8 x 8 pixels and its 'sem_seg' 8 x 9; give"):
        BatchPadder()([sample(8, 8, file_name="a.jpg", sem_seg=torch.zeros(8, 9))], (4, 4), FILLS)


def test_resizer_resizes_unequal_or_large_images():
    small = [torch.rand(1, 3, 6, 6) * 255 for _ in range(2)]
    assert ImageResizer()(small, (8, 8))[0] is small[0]
    for images in ([small[0], torch.rand(1, 3, 6, 7)], [torch.rand(1, 3, 9, 9) * 255] * 2):
        resized = ImageResizer()(images, (8, 8))
        assert [tuple(image.shape) for image in resized] == [(1, 3, 8, 8)] * 2
        assert all(0 <= image.min() and image.max() <= 255 for image in resized)
