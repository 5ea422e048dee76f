"""``configurable``: one constructor that takes explicit arguments or a config."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fvcore.common.config import CfgNode as _FvcoreCfgNode


def configurable(init_func: Callable[..., None]) -> Callable[..., None]:
    """Let a class's ``__init__`` be called with a config as well.

    The class needs a classmethod ``from_config(cls, cfg, ...)`` that returns the constructor's
    keyword arguments. A call has a config if its first positional argument, or ``cfg=``, is a
    ``CfgNode``. Keyword arguments that ``from_config`` names go to it, the others
    override what it returns; a ``from_config`` with ``*args`` or ``**kwargs`` receives all.

    Args:
        init_func: the ``__init__`` decorated.

    Returns:
        The wrapped ``__init__``.

    Raises:
        AssertionError: it decorates something else than an ``__init__``.
        AttributeError: at the call, the class has no ``from_config``.
        TypeError: at the call, ``from_config`` is not a classmethod or does not begin with ``cfg``.
    """
    assert inspect.isfunction(init_func) and init_func.__name__ == "__init__", (
        "Incorrect use of @configurable. Check API documentation for examples."
    )

    @functools.wraps(init_func)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        # Looked up on the object's own class, so that a subclass may replace from_config alone.
        from_config = getattr(type(self), "from_config", None)
        message = "Class with @configurable must have a 'from_config' classmethod."
        if from_config is None:
            raise AttributeError(message)
        if not inspect.ismethod(from_config):
            raise TypeError(message)
        if _is_called_with_cfg(args, kwargs):
            init_func(self, **_build_arguments(from_config, args, kwargs))
        else:
            init_func(self, *args, **kwargs)

    return wrapped


def _is_called_with_cfg(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    # fvcore's class, not ours, so that every descendant of it is recognised.
    return any(isinstance(cfg, _FvcoreCfgNode) for cfg in (*args[:1], kwargs.get("cfg")))


def _build_arguments(
    from_config: Callable[..., dict[str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    parameters = inspect.signature(from_config).parameters
    if next(iter(parameters), None) != "cfg":
        owner = from_config.__self__  # type: ignore[attr-defined]  # of a classmethod
        raise TypeError(f"{owner}.from_config must take 'cfg' as the first argument!")
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(parameter.kind in variadic for parameter in parameters.values()):
        return from_config(*args, **kwargs)
    accepted = {name: value for name, value in kwargs.items() if name in parameters}
    overrides = {name: value for name, value in kwargs.items() if name not in parameters}
    return {**from_config(*args, **accepted), **overrides}
