"""Open-vocabulary semantic segmentation on Detectron2, or without it.

Importing the package loads nothing else, so that a pure function of `ovseg_d2.ops` costs no more
than torch. The plugin registers itself (meta-architectures, heads and backbones in detectron2's
registries, datasets in its catalogs) as soon as a room of the plugin half, the door to detectron2,
or detectron2 itself has been imported, before or after this package. Nothing is read, downloaded
or seeded.
"""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "add_ovseg_config", "load_config", "plugin"]

_PLUGIN_HALF = ("config", "d2", "data", "engine", "evaluation", "plugin", "prepare", "segmenter")
_TRIGGERS = {"detectron2", *(f"{__name__}.{room}" for room in _PLUGIN_HALF)}


def __getattr__(name: str) -> Any:
    """Load a name of this package on its first use."""
    if name in ("add_ovseg_config", "load_config"):
        return getattr(import_module("ovseg_d2.config"), name)
    if name == "plugin":
        return import_module("ovseg_d2.plugin")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register() -> None:
    """Import what registers the plugin; a second call does nothing."""
    import_module("ovseg_d2.plugin")
    import_module("ovseg_d2.data.datasets").register_datasets()


class _Registration(MetaPathFinder):
    """Registers the plugin after the import of a trigger, once no other trigger is half imported.

    Registering in the middle of another module's import would meet that module unfinished.
    """

    depth = 0
    done = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a trigger as the other finders do, and watch the end of its import."""
        if self.done or fullname not in _TRIGGERS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                # A bare folder of that name has no origin and is not the library.
                return self._watched(spec) if spec.origin is not None else spec
        return None

    def _watched(self, spec: ModuleSpec) -> ModuleSpec:
        execute = spec.loader.exec_module  # type: ignore[union-attr]

        def exec_module(module: Any) -> None:
            self.depth += 1
            try:
                execute(module)
            finally:
                self.depth -= 1
            if not self.depth and not self.done:
                self.done = True
                _register()

        spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        return spec


if "detectron2" in sys.modules:
    _register()
elif not any(type(finder).__name__ == _Registration.__name__ for finder in sys.meta_path):
    sys.meta_path.insert(0, _Registration())
