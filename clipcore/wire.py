"""The trainer's words on the wire, version 1; the server's own account of them is `server.protocol`."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from clipcore.recorder import Record

VERSION = 1
MAX_METRICS = 64  # numeric columns of a batch
MAX_LAYERS = 10_000
MAX_NAME = 200
MAX_TEXT = 100_000
MAX_OBJECT_BYTES = 65_536  # as JSON, of an object with fields of any name
MAX_OBJECT_DEPTH = 32


def encode(message: Mapping[str, Any]) -> str:
    """The message as JSON text; NaN, Infinity and -Infinity are those strings, what JSON does not know is its str.

    Half a surrogate pair, as in names of files that are no UTF-8, is a question mark: the server would not take it.
    """
    try:
        text = _dumps(message)
    except ValueError:
        text = _dumps(_spelled_throughout(message))
    return text.encode(errors="replace").decode()


_dumps = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=str).encode


def fitting(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON knows them, without those for which an object on the wire has no room: the largest.

    Left out is also what is nested too deep, and what cannot be written at all.

    >>> fitting({"lr": 0.1, "vocabulary": ["a"] * 100_000, "shape": torch.Size([2, 3])})
    {'lr': 0.1, 'shape': [2, 3]}
    """
    written: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for name, value in fields.items():
        with suppress(Exception):  # RecursionError when it contains itself, and whatever somebody's str() may raise
            text = encode({name: value})
            (known,) = json.loads(text).values()
            if not _is_deeper(known, MAX_OBJECT_DEPTH - 1):
                written[name], sizes[name] = known, len(text.encode())
    room = MAX_OBJECT_BYTES
    for name in sorted(sizes, key=sizes.__getitem__):
        room -= sizes[name]
        if room < 0:
            del written[name]
    return written


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in items)


def decode_number(value: Any) -> Any:
    """Turn the wire's three non-finite strings back into floats; anything else stays as it is."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def spelled(value: Any) -> Any:
    """Turn a non-finite float into the wire's string for it; anything else stays as it is."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _spelled_throughout(value: Any) -> Any:
    if isinstance(value, float):  # first, for it is nearly all there is
        return spelled(value)
    if isinstance(value, Mapping):
        return {key: _spelled_throughout(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled_throughout(inner) for inner in value]
    return value


def layers_message(record: Record, every: int) -> dict[str, Any]:
    """Per-parameter numbers of a step that has them; one block of elements in `every` was counted by exponent."""
    norm, coef, clamped = (numbers[:MAX_LAYERS] for numbers in record.layers or ([], [], []))
    return {
        "type": "layers",
        "step": record.step,
        "norm": norm,
        "coef": coef,
        "clamped": clamped,
        "histogram": None if record.exponents is None else _histogram(record.exponents, every),
    }


def _histogram(exponents: list[int], every: int) -> dict[str, Any]:
    """The non-empty range of the 256 bins; the 257th entry counts zeros."""
    filled = [index for index, count in enumerate(exponents[:256]) if count]
    first, last = (filled[0], filled[-1]) if filled else (0, -1)
    return {"first": first, "counts": exponents[first : last + 1], "zeros": exponents[256], "every": every}


def websocket_url(url: str) -> str:
    """Where a server reached at an http(s) URL takes trainers."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_valid_port(parts):
        raise ValueError(f"url must be http(s)://host[:port][/path], got {url!r}")
    return urlunsplit((parts.scheme.replace("http", "ws"), parts.netloc, f"{parts.path.rstrip('/')}/ws/train", "", ""))


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
