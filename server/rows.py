"""Pure functions on rows of steps: number, cut and join them."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from server.protocol import RESERVED_COLUMNS, Columns, Rows


def numbered(seq: int, columns: Columns) -> Rows:
    """The rows of a batch whose first row has number `seq`."""
    return make_rows({**dict(columns), "seq": list(range(seq, seq + len(columns)))})


def after(rows: Rows, seq: int) -> Rows:
    """The rows beyond `seq`."""
    start = bisect_right(rows.seq, seq)
    return rows if start == 0 else make_rows({name: column[start:] for name, column in rows})


def until(rows: Rows, seq: int) -> Rows:
    """The rows up to and including `seq`."""
    stop = bisect_right(rows.seq, seq)
    return rows if stop == len(rows) else make_rows({name: column[:stop] for name, column in rows})


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts in order; None where a part lacks a metric that another part has."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys((*RESERVED_COLUMNS, *(name for part in parts for name in part.metrics)))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for part in parts:
        present = dict(part)
        for name, column in columns.items():
            column.extend(present[name] if name in present else [None] * len(part))
    return make_rows(columns)


def without(rows: Rows, metrics: Collection[str]) -> Rows:
    """The rows without these metrics."""
    return make_rows({name: column for name, column in rows if name not in metrics})


def logged(rows: Rows) -> Rows:
    """The rows without the metrics that none of them has."""
    return make_rows({name: column for name, column in rows if name in RESERVED_COLUMNS or _any_logged(column)})


def make_rows(columns: Mapping[str, Any]) -> Rows:
    """Rows of columns that are known to be valid: no second validation."""
    rows = Rows.model_construct(seq=columns["seq"], step=columns["step"], time=columns["time"], mode=columns["mode"])
    # Not by keyword: a metric may be called anything, also like an argument of model_construct.
    rows.metrics.update((name, column) for name, column in columns.items() if name not in RESERVED_COLUMNS)
    return rows


def _any_logged(column: Sequence[Any]) -> bool:
    return any(value is not None for value in column)
