import numpy as np
import pytest
import torch

from ovseg_d2 import image_errors
from ovseg_d2.image_errors import ImageReadError, ImageTooLargeError, memory_for, need_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(10**13),
        lambda: np.empty(10**13),
        lambda: bytearray(10**15),
    ],
)
def test_memory_for_names_the_image(allocate):
    with pytest.raises(ImageTooLargeError) as caught, memory_for("a.png"):
        allocate()
    sentence = str(caught.value)
    assert sentence.startswith("a.png: it needs more memory than there is")
    assert "shrink it" in sentence and "\n" not in sentence
    assert isinstance(caught.value, ImageReadError)


def test_memory_for_a_gpu():
    with pytest.raises(ImageTooLargeError, match="a.png"), memory_for("a.png"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 112 GiB")


def test_memory_for_passes_other_errors():
    for error in (RuntimeError("shapes differ"), ValueError("no"), KeyError("x")):
        with pytest.raises(type(error)), memory_for("a.png"):
            raise error


def test_memory_for_adds_the_name_once():
    for said in ("scores need 3 GB", "a.png: scores need 3 GB"):
        with pytest.raises(ImageTooLargeError) as caught, memory_for("a.png"):
            raise ImageTooLargeError(said)
        assert str(caught.value) == "a.png: scores need 3 GB"


def test_need_memory(monkeypatch):
    monkeypatch.setattr(image_errors, "available_memory", lambda device: 2 * 10**9)
    need_memory(2 * 10**9, CPU, "the scores")
    with pytest.raises(ImageTooLargeError, match=r"^the scores need 3.0 GB .* 2.0 GB are free"):
        need_memory(3 * 10**9, CPU, "the scores")
    monkeypatch.setattr(image_errors, "available_memory", lambda device: None)
    need_memory(10**18, CPU, "the scores")


def test_available_memory():
    available = image_errors.available_memory(CPU)
    assert available is None or 0 < available < 10**15
