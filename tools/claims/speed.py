"""Ratios of the times of two ways to the same result, measured in turns in one run."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from tabulate import tabulate

from ovseg_d2.clip import load_clip
from ovseg_d2.ops import dense_argmax

__all__ = ["measure_ratios"]

_ROUNDS = 7


def _ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """Median over rounds of slow time / fast time; the two alternate, so that noise hits both."""
    slow(), fast()
    ratios = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        slow()
        middle = time.perf_counter()
        fast()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios)


@torch.no_grad()
def measure_ratios() -> str:
    """A Markdown table of ratios; above 1 this package is faster. It takes about a minute."""
    tower = load_clip("ViT-B-16", "random")
    words = tower.tokenize([f"a photo of a {i}." for i in range(64)])
    images = torch.rand(4, 3, 224, 224)
    scores = torch.randn(847, 20, 27)
    size = (640, 850)

    def plain_argmax() -> torch.Tensor:
        return F.interpolate(scores[None], size, mode="bilinear")[0].argmax(0)

    rows = [
        (
            "text: 64 short prompts, ViT-B-16",
            "open_clip's encode_text, 77 tokens each",
            _ratio(lambda: tower.model.encode_text(words), lambda: tower.encode_text(words)),
        ),
        (
            "image: 4 images of 224 x 224, ViT-B-16",
            "open_clip's encode_image",
            _ratio(lambda: tower.model.encode_image(images), lambda: tower.encode_image(images)),
        ),
        (
            "labels: 847 classes, 640 x 850",
            "resize all scores, then argmax",
            _ratio(plain_argmax, lambda: dense_argmax(scores, size)),
        ),
    ]
    body = [(name, baseline, f"{ratio:.2f}") for name, baseline, ratio in rows]
    return tabulate(body, headers=["", "compared with", "times as fast"], tablefmt="github")
