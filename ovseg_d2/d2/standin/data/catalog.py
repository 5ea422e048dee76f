"""The two global tables of datasets: their loading functions and their metadata."""

import logging
from collections import UserDict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]

_logger = logging.getLogger("detectron2.data.catalog")

_RENAMED = {
    "class_names": "thing_classes",
    "dataset_id_to_contiguous_id": "thing_dataset_id_to_contiguous_id",
    "stuff_class_names": "stuff_classes",
}


def _current_key(key: str) -> str:
    if key not in _RENAMED:
        return key
    _logger.warning("Metadata '%s' was renamed to '%s'!", key, _RENAMED[key])
    return _RENAMED[key]


class _DatasetCatalog(UserDict):
    """Names of datasets, and for each the function that lists its samples."""

    def register(self, name: str, func: Callable[[], Any]) -> None:
        """Add a dataset.

        Args:
            name: name of the dataset, for instance in ``cfg.DATASETS.TRAIN``.
            func: takes nothing and returns a list of dicts or a torch dataset, the same each time.

        Raises:
            AssertionError: the name is taken, or ``func`` cannot be called.
        """
        assert callable(func), (
            f"DatasetCatalog.register needs a function for '{name}', got {type(func).__name__}."
        )
        assert name not in self, f"Dataset '{name}' is already registered!"
        self[name] = func

    def get(self, name: str) -> Any:  # type: ignore[override]  # detectron2's: no default
        """Call the dataset's function.

        Args:
            name: a registered name.

        Returns:
            The function's result, usually a list of dicts.

        Raises:
            KeyError: the name is not registered.
        """
        if name not in self:
            raise KeyError(
                f"Dataset '{name}' is not registered! "
                f"Available datasets are: {', '.join(self.keys())}"
            )
        return self[name]()

    def list(self) -> Sequence[str]:
        """All registered names."""
        return [*self]

    def remove(self, name: str) -> None:
        """Remove a dataset; its metadata stay."""
        del self[name]


class Metadata(SimpleNamespace):
    """Metadata of one dataset, as attributes that cannot change once they are set."""

    name: str = "N/A"

    def __getattr__(self, key: str) -> Any:
        """Return a renamed attribute; the error for a missing one lists those that exist.

        Raises:
            AttributeError: neither the attribute nor a newer name of it is set.
        """
        if key in _RENAMED:
            return getattr(self, _current_key(key))
        known = [field for field in vars(self) if field != "name"]
        remedy = f"Available keys are {known}." if known else "metadata is empty."
        raise AttributeError(
            f"Attribute '{key}' does not exist in the metadata of dataset '{self.name}': {remedy}"
        )

    def __setattr__(self, key: str, value: Any) -> None:
        """Set an attribute, once.

        Raises:
            AssertionError: it is already set to something else.
        """
        key = _current_key(key)
        if key in vars(self):
            known = vars(self)[key]
            assert known == value, (
                f"Attribute '{key}' in the metadata of '{self.name}' cannot be set to a different "
                f"value!\n{known} != {value}"
            )
            return
        super().__setattr__(key, value)

    def set(self, **kwargs: Any) -> "Metadata":
        """Set several attributes; returns self, so that calls chain."""
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute, or ``default`` where it is not set."""
        return getattr(self, key, default)

    def as_dict(self) -> dict[str, Any]:
        """All attributes, in a new dict."""
        return dict(vars(self))


class _MetadataCatalog(UserDict):
    """The metadata of every dataset, by name."""

    def get(self, name: str) -> Metadata:  # type: ignore[override]  # detectron2's: no default
        """The dataset's metadata, the same object at each call; created empty at the first.

        Raises:
            AssertionError: the name is empty.
        """
        assert name, "MetadataCatalog.get needs the name of a dataset, got an empty one."
        if name not in self:
            self[name] = Metadata(name=name)
        return self[name]

    def list(self) -> Sequence[str]:
        """All names that have metadata."""
        return [*self]

    def remove(self, name: str) -> None:
        """Remove the metadata of a dataset."""
        del self[name]


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
