"""How changes and mistakes read: one line each, for people."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

#: Parameters that several modes have, each its own: not what changed when the mode did.
SHARED = frozenset({"max_norm", "warmup"})
#: What says more about the clipping than a bound does.
FOREMOST = ("mode", "norm_type", "nonfinite")

Pairs = Mapping[str, Sequence[JsonValue]]  # name -> (before, after); None: the mode has no such parameter


def changes_line(changes: Pairs) -> str:
    """What changed, such as "max_norm 1 -> 0.5", or "mode norm -> value, clip_value 0.1"."""
    return ", ".join(f"{name} {' -> '.join(values)}" for name, values in _words(changes).items())


def changes_label(changes: Pairs) -> str:
    """The same where room is short: what matters most of it, such as "norm_type 2 -> inf +1"; the page has its like."""
    words = _words(changes)
    words = {name: values for name, values in words.items() if len(values) == 2} or words
    foremost = next((name for name in (*FOREMOST, *words) if name in words), None)
    if foremost is None:
        return ""
    name = "" if foremost == "mode" else f"{foremost} "
    return f"{name}{' -> '.join(words[foremost])}" + (f" +{len(words) - 1}" if len(words) > 1 else "")


def _words(changes: Pairs) -> dict[str, tuple[str, ...]]:
    """Before and after of what changed; of what a mode brought, how it is; nothing of what it took away."""
    other_mode = "mode" in changes
    return {
        name: (_short(after, 3),) if before is None or (other_mode and name in SHARED) else _pair(before, after)
        for name, (before, after) in changes.items()
        if after is not None
    }


def first_error_line(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors: where, what is asked, and what was given (our validators say all that)."""
    first = errors[0]
    where = _cut(".".join(str(part) for part in first["loc"]), 80)
    match first["type"]:
        case "value_error":
            return f"{where}: {first['ctx']['error']}".removeprefix(": ")
        case "missing":
            return f"{where} is missing"
    return f"{where}: {_cut(first['msg'], 300)}, got {_cut(repr(first['input']), 80)}".removeprefix(": ")


def printable(text: str) -> str:
    """The text on one line; what would start a line of its own or steer a terminal is escaped."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def database_line(error: Exception, path: Path, doing: Literal["open", "read", "write"]) -> str:
    """What is wrong with the database, and what helps. A ValueError means that what was read makes no sense."""
    what = _cut(str(error).partition("\n")[0], 120)
    is_nonsense = isinstance(error, ValueError) or "Could not decode" in what  # as sqlite3 says of text
    if is_nonsense or type(error) is sqlite3.DatabaseError:
        return f"the database {path} is damaged ({what}): move it away or restore a copy"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # beyond it are details
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return f"cannot {doing} the database {path}: {what}. Is there room on its disk? Trainers keep their steps"
    return f"cannot {doing} the database {path}: {what}"


def _escaped(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]  # no codec, which would be read from a file


def _cut(text: str, length: int) -> str:
    """The beginning of what may quote somebody who wrote without end."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _pair(before: JsonValue, after: JsonValue) -> tuple[str, str]:
    """Both values with 3 significant digits, or as many as it takes to tell them apart."""
    for digits in (3, 6, 17):
        texts = _short(before, digits), _short(after, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _short(value: JsonValue, digits: int) -> str:
    match value:
        case float() if 10**digits <= abs(value) < 1e15 and value.is_integer():
            return f"{value:.0f}"  # 1500 rather than 1.5e+03
        case float():
            return f"{value:.{digits}g}"
        case "Infinity" | "-Infinity":  # as they travel
            return str(float(value))
        case _:
            return str(value)
