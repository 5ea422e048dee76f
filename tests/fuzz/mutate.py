"""Damages bytes, texts and JSON values, the way that broken files are damaged."""

import json
import random
from typing import Any

# What readers stumble over: limits of integers, nothing, not a number, text that is none.
NUMBERS = (0, -1, 1, 2**7, 2**8, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**63, -(2**63), 10**400)
ODD_VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(None, True, False, "", " ", "\0", "nan", "é" * 300, "\ud800", [], {}, [[]], {"": None}),
    *(float("nan"), float("inf"), -float("inf"), 1e308, -0.0, 0.5),
)


def mutate_bytes(rng: random.Random, data: bytes, most: int = 4) -> bytes:
    """Damage bytes in one to `most` places: flip, cut, insert, repeat, overwrite, swap ends."""
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(data) + 1)
        length = min(rng.choice((1, 1, 2, 4, 16, 256)), len(data) - at)
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):  # a flipped bit
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 1:  # cut short
            data = data[:at]
        elif kind == 2:  # noise put in
            data = data[:at] + rng.randbytes(rng.choice((1, 4, 64))) + data[at:]
        elif kind == 3:  # a part repeated
            data = data[:at] + data[at : at + length] * rng.randint(2, 5) + data[at + length :]
        elif kind == 4:  # a part overwritten by zeros, ones or noise
            new = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
            data = data[:at] + new + data[at + length :]
        elif kind == 5:  # a part left out
            data = data[:at] + data[at + length :]
        else:  # the end comes first
            data = data[at:] + data[:at]
    return data


def mutate_json(rng: random.Random, value: Any) -> Any:
    """Replace, remove, repeat, rename or deepen one part of a JSON value; the value is copied."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return rng.choice(ODD_VALUES)
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice((key.upper(), f"{key}_", "", "model"))] = holder.pop(key)
    elif kind == 3:
        for _ in range(rng.choice((1, 3, 50))):
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
    elif kind == 4 and isinstance(holder[key], str):
        text = holder[key].encode("utf-8", "surrogatepass")
        holder[key] = mutate_bytes(rng, text, 2).decode("utf-8", "replace")
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return value


def _places(value: Any) -> Any:
    """Yield (container, key) of every part of a JSON value."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner)
