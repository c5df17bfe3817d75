"""A run's rows as text, made while it is being read: memory does not grow with the run."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from server.protocol import Rows

KEYS = ("seq", "step", "time", "mode")


def as_csv(metrics: Sequence[str], chunks: Iterable[Rows]) -> Iterator[str]:
    """CSV with a header (RFC 4180). Nothing stands where nothing was logged; non-finite numbers as on the wire."""
    yield _csv_lines([(*KEYS, *metrics)])
    for rows in chunks:
        yield _csv_lines([["" if value is None else value for value in row] for row in _table(rows, metrics)])


def as_jsonl(metrics: Sequence[str], chunks: Iterable[Rows]) -> Iterator[str]:
    """JSON Lines, one object a row. Null where nothing was logged; non-finite numbers are strings as on the wire."""
    names = (*KEYS, *metrics)
    for rows in chunks:
        yield "".join(f"{json.dumps(dict(zip(names, row, strict=True)))}\n" for row in _table(rows, metrics))


def _table(rows: Rows, metrics: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    columns = dict(rows)
    return zip(*([_spelled(value) for value in columns[name]] for name in (*KEYS, *metrics)), strict=True)


def _spelled(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
