"""Augmentations: policies that read the data and choose a transform."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = ["AugInput", "Augmentation", "AugmentationList"]


class AugInput:
    """An image and its labels, transformed together."""

    def __init__(self, image: np.ndarray, *, sem_seg: np.ndarray | None = None) -> None:
        """Take an image and its labels.

        Args:
            image: (H, W) or (H, W, C); uint8 in [0, 255], or floats.
            sem_seg: (H, W) labels.

        Raises:
            AssertionError: the image is no array of two or three axes.
        """
        assert isinstance(image, np.ndarray) and image.ndim in (2, 3), (
            "AugInput needs a (H, W) or (H, W, C) numpy array, got "
            f"{getattr(image, 'shape', type(image))}; tensors go through .numpy() first."
        )
        self.image = image
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        """Apply a transform to all that is there, in place."""
        self.image = tfm.apply_image(self.image)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)


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
            The transform, for further data of the image.

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

    def _read_input_args(self) -> tuple[str, ...]:
        parameters = inspect.signature(self.get_transform).parameters
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
            raise TypeError(
                f"{type(self)}.get_transform takes *args or **kwargs, so the inputs it needs are "
                "unknown: name its parameters, set input_args, or define __call__."
            )
        return ("image",) if len(parameters) == 1 else tuple(parameters)


class AugmentationList(Augmentation):
    """Augmentations in order; each reads the result of the one before."""

    def __init__(self, augs: Sequence[Augmentation]) -> None:
        """Take the parts.

        Raises:
            AssertionError: one of them is not an augmentation.
        """
        for aug in augs:
            assert isinstance(aug, Augmentation), (
                f"AugmentationList takes augmentations, got {type(aug)}."
            )
        self.augs = augs

    def __call__(self, aug_input: Any) -> TransformList:
        """Apply all to an input, in place; returns the transforms they chose."""
        return TransformList([aug(aug_input) for aug in self.augs])
