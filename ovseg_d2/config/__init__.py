"""Every config key of the plugin: its default, its values, its help, and the module that reads it.

A key is one line in a table, see :mod:`.keys`; :func:`load_config` checks all of them.
detectron2's own keys keep their meaning, and their defaults unless :mod:`.detectron2` sets another
one. Only ``from_config`` methods and the ``build_*`` functions of ``data``,
``evaluation`` and ``engine`` read a config.
"""

from .defaults import KEYS, add_ovseg_config
from .devices import check_device, resolve_device
from .find import find_config
from .loading import check_config, load_config
from .mask_options import mask_options
from .per_dataset import dataset_config

__all__ = [
    "KEYS",
    "add_ovseg_config",
    "check_config",
    "check_device",
    "dataset_config",
    "find_config",
    "load_config",
    "mask_options",
    "resolve_device",
]
