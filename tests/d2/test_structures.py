"""The contract of ovseg_d2.d2.structures: holds on detectron2 and on the stand-in alike."""

import copy

import numpy as np
import pytest
import torch

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.structures import BitMasks, Boxes, ImageList, Instances


class TestImageList:
    def test_pads_right_and_below(self):
        small = torch.tensor([[[1.0, 2.0]]])  # 1 x 1 x 2
        large = torch.tensor([[[3.0], [4.0]]])  # 1 x 2 x 1
        images = ImageList.from_tensors([small, large], pad_value=9)
        expected = torch.tensor([[[[1.0, 2.0], [9.0, 9.0]]], [[[3.0, 9.0], [4.0, 9.0]]]])
        assert torch.equal(images.tensor, expected)
        assert [tuple(size) for size in images.image_sizes] == [(1, 2), (2, 1)]
        assert len(images) == 2

    def test_indexing_takes_the_padding_off(self):
        tensors = [torch.rand(3, 5, 7), torch.rand(3, 6, 4)]
        images = ImageList.from_tensors(tensors, 8)
        assert torch.equal(images[0], tensors[0])
        assert torch.equal(images[1], tensors[1])

    @pytest.mark.parametrize(
        ("divisibility", "expected"), [(0, (5, 7)), (1, (5, 7)), (4, (8, 8)), (7, (7, 7))]
    )
    def test_divisibility_rounds_up(self, divisibility, expected):
        for tensors in ([torch.rand(3, 5, 7)], [torch.rand(3, 5, 7), torch.rand(3, 4, 3)]):
            images = ImageList.from_tensors(tensors, divisibility)
            assert images.tensor.shape == (len(tensors), 3, *expected)

    def test_constraints(self):
        tensors = [torch.rand(3, 5, 7)]
        square = ImageList.from_tensors(tensors, padding_constraints={"square_size": 10})
        assert square.tensor.shape == (1, 3, 10, 10)
        both = {"square_size": 10, "size_divisibility": 4}
        assert ImageList.from_tensors(tensors, 3, padding_constraints=both).tensor.shape[-1] == 12
        none = ImageList.from_tensors(tensors, 4, padding_constraints={})
        assert none.tensor.shape == (1, 3, 8, 8)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.uint8])
    def test_label_maps_keep_their_type(self, dtype):
        labels = [torch.ones(2, 3, dtype=dtype), torch.zeros(1, 1, dtype=dtype)]
        images = ImageList.from_tensors(labels, pad_value=255)
        assert images.tensor.dtype == dtype
        assert images.tensor[1].tolist() == [[0, 255, 255], [255, 255, 255]]

    def test_to_and_device(self):
        images = ImageList.from_tensors([torch.rand(3, 2, 2)]).to(torch.float64)
        assert images.tensor.dtype == torch.float64
        assert images.device == torch.device("cpu")

    def test_gradients_reach_the_images(self):
        tensors = [torch.rand(1, 2, 2, requires_grad=True), torch.rand(1, 3, 1, requires_grad=True)]
        ImageList.from_tensors(tensors).tensor.sum().backward()
        assert all(torch.equal(t.grad, torch.ones_like(t)) for t in tensors)

    @pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 crops a single image to the square")
    def test_too_small_a_square(self):
        with pytest.raises(AssertionError, match="square_size is 4, but an image has a side of 5"):
            ImageList.from_tensors([torch.rand(3, 2, 5)], padding_constraints={"square_size": 4})

    def test_refuses(self):
        with pytest.raises(AssertionError):
            ImageList.from_tensors([])
        with pytest.raises(AssertionError):
            ImageList.from_tensors([torch.rand(3, 2, 2), torch.rand(1, 2, 2)])


class TestInstances:
    def make(self):
        return Instances(
            (4, 6),
            gt_classes=torch.tensor([3, 1, 2]),
            gt_masks=BitMasks(torch.eye(3, dtype=torch.bool)[:, None]),
            names=["a", "b", "c"],
        )

    def test_fields(self):
        instances = self.make()
        assert instances.image_size == (4, 6)
        assert len(instances) == 3
        assert instances.gt_classes.tolist() == [3, 1, 2]
        assert instances.has("names") and not instances.has("scores")
        assert instances.get("names") is instances.names
        assert set(instances.get_fields()) == {"gt_classes", "gt_masks", "names"}
        instances.remove("names")
        assert not instances.has("names")
        assert "num_instances=3" in str(instances)

    def test_lengths_must_agree(self):
        instances = self.make()
        with pytest.raises(AssertionError, match="of length 2 to a Instances of length 3"):
            instances.scores = torch.zeros(2)
        assert not instances.has("scores")

    def test_missing_field(self):
        with pytest.raises(AttributeError, match="Cannot find field 'scores'"):
            self.make().scores  # noqa: B018

    def test_without_fields(self):
        with pytest.raises(NotImplementedError, match="Empty Instances does not support"):
            len(Instances((4, 6)))

    def test_cannot_be_iterated(self):
        with pytest.raises(NotImplementedError):
            iter(self.make())

    @pytest.mark.parametrize(
        ("item", "expected"),
        [
            (0, [3]),
            (-1, [2]),
            (slice(1, None), [1, 2]),
            (torch.tensor([2, 0]), [2, 3]),
            (torch.tensor([True, False, True]), [3, 2]),
        ],
    )
    def test_indexing(self, item, expected):
        instances = self.make()
        instances.remove("names")  # a list takes no tensor as its index
        picked = instances[item]
        assert isinstance(picked, Instances)
        assert picked.gt_classes.tolist() == expected
        assert len(picked.gt_masks) == len(expected)
        assert picked.image_size == (4, 6)

    @pytest.mark.parametrize("item", [3, -4])
    def test_out_of_range(self, item):
        with pytest.raises(IndexError):
            self.make()[item]

    def test_to_moves_what_can_be_moved(self):
        moved = self.make().to("cpu")
        assert moved.names == ["a", "b", "c"]
        assert torch.equal(moved.gt_classes, torch.tensor([3, 1, 2]))

    def test_copy(self):
        instances = copy.deepcopy(self.make())
        assert instances.gt_classes.tolist() == [3, 1, 2]


class TestBoxes:
    def test_areas_and_empty_boxes(self):
        boxes = Boxes(torch.tensor([[0, 0, 4, 2], [1, 1, 1, 5], [2, 3, 5, 7]]))
        assert boxes.tensor.dtype == torch.float32
        assert boxes.area().tolist() == [8.0, 0.0, 12.0]
        assert boxes.nonempty().tolist() == [True, False, True]
        assert boxes.nonempty(threshold=2.0).tolist() == [False, False, True]

    def test_indexing(self):
        boxes = Boxes([[0, 0, 1, 1], [0, 0, 2, 2]])
        assert boxes[1].tensor.tolist() == [[0, 0, 2, 2]]
        assert len(boxes[torch.tensor([True, False])]) == 1
        assert boxes.to("cpu").device == torch.device("cpu")

    def test_none(self):
        boxes = Boxes(torch.zeros(0))
        assert boxes.tensor.shape == (0, 4)
        assert boxes.area().shape == boxes.nonempty().shape == (0,)

    def test_refuses_other_shapes(self):
        with pytest.raises(AssertionError):
            Boxes(torch.zeros(2, 3))


class TestBitMasks:
    def test_boxes_are_tight(self):
        masks = torch.zeros(3, 5, 6, dtype=torch.bool)
        masks[0, 1, 2] = masks[0, 3, 4] = True
        masks[2, 4, 5] = True
        masks = BitMasks(masks)
        expected = [[2, 1, 5, 4], [0, 0, 0, 0], [5, 4, 6, 5]]
        assert masks.get_bounding_boxes().tensor.tolist() == expected
        assert masks.nonempty().tolist() == [True, False, True]
        assert tuple(masks.image_size) == (5, 6)

    def test_becomes_bool(self):
        masks = BitMasks(np.array([[[0, 1], [2, 0]]], dtype=np.uint8))
        assert masks.tensor.tolist() == [[[False, True], [True, False]]]

    def test_indexing(self):
        masks = BitMasks(torch.eye(3)[:, None])
        assert masks[1].tensor.tolist() == [[[False, True, False]]]
        assert len(masks[1:]) == 2
        assert len(masks.to("cpu")[torch.tensor([True, False, True])]) == 2

    def test_none(self):
        masks = BitMasks(torch.zeros(0, 4, 5))
        assert len(masks) == 0
        assert masks.get_bounding_boxes().tensor.shape == (0, 4)

    def test_refuses_other_shapes(self):
        with pytest.raises(AssertionError):
            BitMasks(torch.zeros(4, 5))
