import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from loading_paths import PATHS, Net  # noqa: E402

from ovseg_d2.engine.cli import sentence_for_bad_input  # noqa: E402
from ovseg_d2.engine.loading import load_model  # noqa: E402
from ovseg_d2.prepare import proposal_masks  # noqa: E402


@pytest.fixture
def refuse(monkeypatch) -> Callable[[str, Path], str]:
    """Give a function that loads a file by a path of `PATHS` and returns the tools' sentence."""
    monkeypatch.setattr(proposal_masks, "build_model", Net)
    monkeypatch.setitem(load_model.__kwdefaults__, "build", Net)

    def refuse(way: str, path: Path) -> str:
        with pytest.raises(SystemExit) as caught, sentence_for_bad_input():
            PATHS[way](path)
        sentence = str(caught.value.code)
        assert path.name in sentence and "\n" not in sentence and "weights_only" not in sentence
        return sentence

    return refuse
