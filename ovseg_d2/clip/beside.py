"""The training of a CLIP as configs beside its file, or texts in the file, describe it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ovseg_d2.checkpoints import TRAINING_ENTRY
from ovseg_d2.json_files import describe_problem, read_json, shorten

from .training import Training

__all__ = ["hugging_face_training", "open_clip_training", "store_training", "stored_training"]

_LARGEST = 2**20  # bytes of a config


def open_clip_training(path: Path) -> Training:
    """Read open_clip_config.json beside a weight file, in the form of the Hugging Face hub.

    Args:
        path: the weight file.

    Raises:
        ValueError: the config is damaged.
    """

    def training(config: Mapping[str, Any]) -> Training:
        pixels = config.get("preprocess_cfg", {})
        quick_gelu = bool(config["model_cfg"].get("quick_gelu", False))
        return _statistics(quick_gelu, pixels, "mean", "std")

    return _read(path.with_name("open_clip_config.json"), "open_clip", training)


def hugging_face_training(path: Path) -> Training:
    """Read the configs of transformers beside a weight file; without them, open_clip's.

    Args:
        path: the weight file.

    Raises:
        ValueError: a config is damaged.
    """

    def activation(config: Mapping[str, Any]) -> Training:
        if not config["model_type"].startswith("clip"):
            return Training()
        halves = [config[key] for key in ("vision_config", "text_config") if config.get(key)]
        # transformers leaves out what has its default, which is OpenAI's.
        used = {half.get("hidden_act", "quick_gelu") for half in halves or [config]}
        return Training(used == {"quick_gelu"} if len(used) == 1 else None)

    def colours(config: Mapping[str, Any]) -> Training:
        return _statistics(None, config, "image_mean", "image_std")

    maker = "Hugging Face's transformers"
    training = _read(path.with_name("config.json"), maker, activation)
    training = training.or_else(_read(path.with_name("preprocessor_config.json"), maker, colours))
    return training.or_else(open_clip_training(path))


def store_training(training: Training) -> dict[str, str]:
    """Return the texts for the metadata of a safetensors file that `stored_training` reads."""
    known = {"quick_gelu": training.quick_gelu, "mean": training.mean, "std": training.std}
    text = json.dumps({key: value for key, value in known.items() if value is not None})
    return {TRAINING_ENTRY: text}


def stored_training(path: Path, entries: Mapping[str, Any]) -> Training:
    """Read the entry of a converted file: a dict, or the text of `store_training`.

    Args:
        path: the weight file, for the error.
        entries: what it holds beside the weights.

    Raises:
        ValueError: the entry is none of these.
    """
    known = entries.get(TRAINING_ENTRY, {})
    try:
        known = json.loads(known) if isinstance(known, str) else known
        quick_gelu = known.get("quick_gelu")
        if not (quick_gelu is None or isinstance(quick_gelu, bool)):
            raise ValueError(f"quick_gelu is {shorten(quick_gelu)}")
        return _statistics(quick_gelu, known, "mean", "std")
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"the weights {str(path)!r} have a damaged entry {TRAINING_ENTRY!r} ({error}); write "
            "them again by tools/convert_weights.py"
        ) from error


def _read(path: Path, maker: str, parse: Callable[[Mapping[str, Any]], Training]) -> Training:
    """Read a config; the result knows nothing if there is none."""
    try:
        return parse(read_json(path, max_bytes=_LARGEST)) if path.exists() else Training()
    except OSError as error:
        problem = describe_problem(error)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        problem = str(error)
    raise ValueError(
        f"pretrained={str(path.parent)!r}: {path.name} is not a config of {maker} ({problem}); "
        "correct it, or move the weight file to a folder of its own"
    )


def _statistics(
    quick_gelu: bool | None, pixels: Mapping[str, Any], mean: str, std: str
) -> Training:
    """Return the training with the pixel statistics of a config, under the names there.

    Raises:
        TypeError, ValueError: they are not three numbers of a range that colours have.
    """
    return Training(quick_gelu, _colour(pixels, mean), _colour(pixels, std, least=1e-6))


def _colour(pixels: Mapping[str, Any], name: str, least: float = 0) -> tuple[float, ...] | None:
    stated = pixels.get(name)
    if stated is None:
        return None
    numbers = tuple(float(number) for number in stated)
    if len(numbers) != 3 or not all(least <= number <= 1 for number in numbers):
        raise ValueError(f"{name} is {shorten(stated)}")
    return numbers
