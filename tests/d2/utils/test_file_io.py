"""Config files and checkpoints are opened through a manager that knows web addresses."""

import sys

import pytest

from ovseg_d2.d2.engine import default_setup

PathManager = sys.modules[default_setup.__module__].PathManager


def test_web_addresses_have_a_handler():
    # The local handler would take the address for a file name that does not exist.
    assert PathManager.exists("nowhere/a.txt") is False
    with pytest.raises(NotImplementedError):
        PathManager.exists("http://127.0.0.1:9/a.txt")
