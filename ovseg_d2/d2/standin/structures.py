"""Padded image batches, and the per-instance fields of one image."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class ImageList:
    """Images of unequal sizes in one tensor, each in the upper left corner of its padding.

    Attributes:
        tensor: (B, ..., H, W), any dtype.
        image_sizes: the true (h, w) of each image.
    """

    def __init__(self, tensor: Tensor, image_sizes: list[tuple[int, int]]):
        """Take a batch that is padded already; see :meth:`from_tensors`."""
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> Tensor:
        """Image ``idx`` without its padding, (..., h, w)."""
        h, w = self.image_sizes[idx]
        return self.tensor[idx, ..., :h, :w]

    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        """The same list with its tensor moved or cast as by ``Tensor.to``."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        """Device of the tensor."""
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: Sequence[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> "ImageList":
        """Pad images at the right and bottom to one size and stack them.

        Args:
            tensors: at least one (..., h, w), equal but for h and w.
            size_divisibility: the common size is rounded up to its multiple; 0 and 1 change
                nothing.
            pad_value: fills the padding.
            padding_constraints: may hold ``square_size``, which if positive replaces the largest
                height and width, and ``size_divisibility``, which replaces the argument.

        Returns:
            The list, dtype and device of its images.

        Raises:
            AssertionError: no images, no tensors, unequal leading dimensions, too small a square.
        """
        assert isinstance(tensors, (tuple, list)) and len(tensors) > 0, (
            f"tensors must be a list of at least one image, got {tensors!r}"
        )
        for tensor in tensors:
            assert isinstance(tensor, Tensor), type(tensor)
            assert tensor.shape[:-2] == tensors[0].shape[:-2], tensor.shape
        image_sizes = [(tensor.shape[-2], tensor.shape[-1]) for tensor in tensors]
        max_h = max(h for h, _ in image_sizes)
        max_w = max(w for _, w in image_sizes)
        if padding_constraints is not None:
            square_size = padding_constraints.get("square_size", 0)
            if square_size > 0:
                # Negative padding would crop the image without a word.
                assert square_size >= max(max_h, max_w), (
                    f"square_size is {square_size}, but an image has a side of "
                    f"{max(max_h, max_w)}; resize the images or enlarge the square."
                )
                max_h = max_w = square_size
            size_divisibility = padding_constraints.get("size_divisibility", size_divisibility)
        if size_divisibility > 1:
            max_h = -(-max_h // size_divisibility) * size_divisibility
            max_w = -(-max_w // size_divisibility) * size_divisibility
        padded = [
            F.pad(tensor, (0, max_w - w, 0, max_h - h), value=pad_value)
            for tensor, (h, w) in zip(tensors, image_sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), image_sizes)


class Instances:
    """Fields of equal length that describe the instances of one image.

    A field is set and read as an attribute; indexing indexes every field. Attributes that begin
    with an underscore are not fields.
    """

    def __init__(self, image_size: tuple[int, int], **kwargs: Any):
        """Begin with the fields in ``kwargs``, for an image of ``image_size`` (h, w)."""
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in kwargs.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """(h, w) of the image."""
        return self._image_size

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, or what begins with an underscore as an ordinary attribute."""
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self.set(name, value)

    def __getattr__(self, name: str) -> Any:
        """The field of this name; AttributeError if there is none."""
        # Asked for _fields before it is set (as by copy and pickle), the second test would recurse.
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Set a field; AssertionError unless it is as long as the other fields."""
        num_values = len(value)
        if self._fields:
            assert num_values == len(self), (
                f"Adding a field of length {num_values} to a Instances of length {len(self)}"
            )
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return name in self._fields

    def get(self, name: str) -> Any:
        """The field of this name; KeyError if there is none."""
        return self._fields[name]

    def remove(self, name: str) -> None:
        """Drop the field of this name; KeyError if there is none."""
        del self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """The dict of all fields itself, not a copy."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> "Instances":
        """The same instances with ``to`` called on each field that has it."""
        fields = {
            name: value.to(*args, **kwargs) if hasattr(value, "to") else value
            for name, value in self._fields.items()
        }
        return Instances(self._image_size, **fields)

    def __getitem__(self, item: int | slice | Tensor) -> "Instances":
        """The instances that ``item`` picks, always as Instances; IndexError out of range."""
        if isinstance(item, int):
            if not -len(self) <= item < len(self):
                raise IndexError("Instances index out of range!")
            item = slice(item, None, len(self))
        return Instances(
            self._image_size, **{name: value[item] for name, value in self._fields.items()}
        )

    def __len__(self) -> int:
        """Number of instances; NotImplementedError before the first field is set."""
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Empty Instances does not support __len__!")

    def __iter__(self) -> Iterator[Any]:
        """Refuse; without this, Python would iterate through ``__getitem__``."""
        raise NotImplementedError("`Instances` object is not iterable!")

    def __repr__(self) -> str:
        """Number, image size and fields."""
        size = f"image_height={self._image_size[0]}, image_width={self._image_size[1]}"
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        return f"Instances(num_instances={len(self)}, {size}, fields=[{fields}])"


class Boxes:
    """Boxes of one image.

    Attributes:
        tensor: (N, 4) float32, xyxy in pixels.
    """

    def __init__(self, tensor: Any):
        """Take (N, 4) numbers; any empty tensor stands for no boxes."""
        tensor = torch.as_tensor(tensor, dtype=torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape(-1, 4)
        assert tensor.dim() == 2 and tensor.size(-1) == 4, tensor.size()
        self.tensor = tensor

    def to(self, device: torch.device | str) -> "Boxes":
        """The same boxes on another device."""
        return Boxes(self.tensor.to(device=device))

    @property
    def device(self) -> torch.device:
        """Device of the tensor."""
        return self.tensor.device

    def area(self) -> Tensor:
        """(N,) areas in square pixels."""
        return (self.tensor[:, 2:] - self.tensor[:, :2]).prod(dim=1)

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """(N,) bool: both sides are longer than ``threshold`` pixels."""
        return (self.tensor[:, 2:] - self.tensor[:, :2] > threshold).all(dim=1)

    def __len__(self) -> int:
        """Number of boxes."""
        return self.tensor.shape[0]

    def __getitem__(self, item: int | slice | Tensor) -> "Boxes":
        """The boxes that ``item`` picks, always as Boxes."""
        if isinstance(item, int):
            return Boxes(self.tensor[item].view(1, 4))
        return Boxes(self.tensor[item])

    def __repr__(self) -> str:
        """The tensor."""
        return f"Boxes({self.tensor})"


class BitMasks:
    """Masks of one image.

    Attributes:
        tensor: (Q, H, W) bool.
        image_size: (H, W).
    """

    def __init__(self, tensor: Any):
        """Take a (Q, H, W) tensor or array, of which everything but zero is inside."""
        tensor = torch.as_tensor(tensor).to(torch.bool)
        assert tensor.dim() == 3, tensor.size()
        self.tensor = tensor
        self.image_size = tensor.shape[1:]

    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        """The same masks on another device."""
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """Device of the tensor."""
        return self.tensor.device

    def nonempty(self) -> Tensor:
        """(Q,) bool: the mask has at least one pixel."""
        return self.tensor.flatten(1).any(dim=1)

    def get_bounding_boxes(self) -> Boxes:
        """Tight boxes, the right and lower sides exclusive; all zero for an empty mask."""
        boxes = torch.zeros(len(self), 4, dtype=torch.float32)
        for q, (columns, rows) in enumerate(
            zip(self.tensor.any(dim=1), self.tensor.any(dim=2), strict=True)
        ):
            if columns.any():
                x, y = columns.nonzero(), rows.nonzero()
                boxes[q] = torch.stack([x[0, 0], y[0, 0], x[-1, 0] + 1, y[-1, 0] + 1])
        return Boxes(boxes)

    def __len__(self) -> int:
        """Number of masks."""
        return self.tensor.shape[0]

    def __getitem__(self, item: int | slice | Tensor) -> "BitMasks":
        """The masks that ``item`` picks, always as BitMasks."""
        if isinstance(item, int):
            return BitMasks(self.tensor[item].unsqueeze(0))
        return BitMasks(self.tensor[item])

    def __repr__(self) -> str:
        """The number of masks; they would fill pages."""
        return f"BitMasks(num_instances={len(self)})"
