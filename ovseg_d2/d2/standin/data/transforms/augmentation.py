"""What an augmentation is: a policy that looks at the data and chooses a transform."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = ["AugInput", "Augmentation", "AugmentationList", "apply_transform_gens"]


class AugInput:
    """An image and what belongs to it, transformed together."""

    def __init__(
        self,
        image: np.ndarray,
        *,
        boxes: np.ndarray | None = None,
        sem_seg: np.ndarray | None = None,
    ) -> None:
        """Take what belongs to one image.

        Args:
            image: (H, W) or (H, W, C); uint8 in [0, 255], or floats.
            boxes: (N, 4) float, xyxy, in pixels.
            sem_seg: (H, W) labels.

        Raises:
            AssertionError: the image is no array of two or three axes.
        """
        assert isinstance(image, np.ndarray) and image.ndim in (2, 3), (
            "AugInput needs a (H, W) or (H, W, C) numpy array, got "
            f"{getattr(image, 'shape', type(image))}; tensors go through .numpy() first."
        )
        self.image = image
        self.boxes = boxes
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        """Apply a transform to all that is there, in place."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def apply_augmentations(
        self, augmentations: Sequence["Augmentation | Transform"]
    ) -> TransformList:
        """Apply augmentations in order, in place; returns the transforms they chose."""
        return AugmentationList(augmentations)(self)


class Augmentation:
    """A policy, random as a rule, that chooses a transform.

    A subclass defines ``get_transform``; the names of its parameters say which attributes of the
    input it looks at (a single parameter is always the image). Randomness comes from
    ``numpy.random``.
    """

    input_args: tuple[str, ...] | None = None
    """Attributes of the input that ``get_transform`` is given; None reads its signature."""

    def get_transform(self, *args: Any) -> Transform:
        """Choose a transform.

        Args:
            *args: attributes of the input, in a subclass each by its name.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_transform.")

    def __call__(self, aug_input: Any) -> Transform:
        """Choose a transform for an input and apply it, in place.

        Args:
            aug_input: an ``AugInput``, or another object with the attributes needed and a method
                ``transform``.

        Returns:
            The transform, to be applied to whatever else belongs to the image.

        Raises:
            AssertionError: ``get_transform`` returned no transform.
            AttributeError: the input lacks an attribute that is needed.
            TypeError: ``get_transform`` takes ``*args`` or ``**kwargs``.
        """
        if self.input_args is None:
            self.input_args = self._read_input_args()
        missing = [name for name in self.input_args if not hasattr(aug_input, name)]
        if missing:
            raise AttributeError(
                f"{type(self)}.get_transform needs input attribute '{missing[0]}', "
                f"but it is not an attribute of {type(aug_input)}!"
            )
        tfm = self.get_transform(*(getattr(aug_input, name) for name in self.input_args))
        assert isinstance(tfm, Transform), (
            f"{type(self)}.get_transform must return an instance of Transform! "
            f"Got {type(tfm)} instead."
        )
        aug_input.transform(tfm)
        return tfm

    def __repr__(self) -> str:
        """The constructor's call, of a subclass that keeps its arguments under their names."""
        names = inspect.signature(type(self)).parameters
        if not all(name in vars(self) for name in names):
            return super().__repr__()
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({arguments})"

    def _read_input_args(self) -> tuple[str, ...]:
        parameters = inspect.signature(self.get_transform).parameters
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
            raise TypeError(
                f"{type(self)}.get_transform takes *args or **kwargs, so the inputs it needs are "
                "unknown: name its parameters, set input_args, or define __call__."
            )
        return ("image",) if len(parameters) == 1 else tuple(parameters)


class _FixedAugmentation(Augmentation):
    """A transform in the place of an augmentation."""

    input_args = ()

    def __init__(self, tfm: Transform) -> None:
        self.tfm = tfm

    def get_transform(self) -> Transform:
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)


class AugmentationList(Augmentation):
    """Augmentations in order, each looking at what the one before made of the input."""

    def __init__(self, augs: Sequence[Augmentation | Transform]) -> None:
        """Take the parts.

        Args:
            augs: augmentations or fixed transforms.

        Raises:
            AssertionError: something else among them.
        """
        for aug in augs:
            assert isinstance(aug, (Augmentation, Transform)), (
                f"AugmentationList takes augmentations and transforms, got {type(aug)}."
            )
        self.augs = [_FixedAugmentation(aug) if isinstance(aug, Transform) else aug for aug in augs]

    def __call__(self, aug_input: Any) -> TransformList:
        """Apply all to an input, in place; returns the transforms they chose."""
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        """The list of its parts."""
        return f"AugmentationList[{', '.join(map(str, self.augs))}]"


def apply_transform_gens(
    augmentations: Sequence[Augmentation | Transform], inputs: AugInput | np.ndarray
) -> tuple[AugInput | np.ndarray, TransformList]:
    """Apply augmentations in order.

    Args:
        augmentations: augmentations or fixed transforms.
        inputs: transformed in place; or an image alone, which stays as it is.

    Returns:
        The input, or the transformed image, and the transforms chosen.
    """
    if isinstance(inputs, np.ndarray):
        aug_input = AugInput(inputs)
        tfms = aug_input.apply_augmentations(augmentations)
        return aug_input.image, tfms
    return inputs, inputs.apply_augmentations(augmentations)
