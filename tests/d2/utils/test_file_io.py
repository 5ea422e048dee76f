"""Paths are opened through one manager, which users can extend."""

import pytest

from ovseg_d2.d2.utils.file_io import PathHandler, PathManager


def test_local_files(tmp_path):
    path = str(tmp_path / "a.txt")
    with PathManager.open(path, "w") as file:
        file.write("text")
    assert PathManager.get_local_path(path) == path
    assert PathManager.ls(str(tmp_path)) == ["a.txt"]


def test_web_addresses_have_a_handler():
    # The local handler would take the address for a file name that does not exist.
    assert PathManager.exists("nowhere/a.txt") is False
    with pytest.raises(NotImplementedError):
        PathManager.exists("http://127.0.0.1:9/a.txt")


def test_own_prefixes_can_be_added():
    class Words(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["ovseg-test://"]

        def _exists(self, path: str, **kwargs: object) -> bool:
            return path == "ovseg-test://here"

    PathManager.register_handler(Words(), allow_override=True)
    assert PathManager.exists("ovseg-test://here")
    assert not PathManager.exists("ovseg-test://there")
