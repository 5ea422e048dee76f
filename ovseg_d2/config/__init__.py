"""Every config key of the plugin: default, unit, and who reads it.

detectron2's own keys keep their meaning; the few whose defaults change are at the end of
:func:`add_ovseg_config`. Only ``from_config`` methods and the ``build_*`` functions of ``data``,
``evaluation`` and ``engine`` read a config.
"""

from .defaults import add_ovseg_config, resolve_device
from .loading import load_config

__all__ = ["add_ovseg_config", "load_config", "resolve_device"]
