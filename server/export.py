"""A run's rows as a file, made while it is being read: memory does not grow with the run."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from clipcore.wire import spelled
from server.protocol import MAX_COUNT, Rows

KEYS = ("seq", "step", "time", "mode")
#: Whole numbers, which the wire and the store carry among the others as floats.
COUNTS = frozenset({"clamped", "clipped_tensors", "nonfinite", "skipped"})
#: Readers skip whole row groups, so they should not be small: 65,536 rows.
CHUNKS_PER_GROUP = 16


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
    written = ([_written(name, value) for value in columns[name]] for name in (*KEYS, *metrics))
    return zip(*written, strict=True)


def _written(name: str, value: Any) -> Any:
    whole = _whole(value) if name in COUNTS else None
    return spelled(value) if whole is None else whole


def _whole(value: float | None) -> int | None:
    """A count; None where nothing was logged, and for what only a trainer that is not ours would call one."""
    return int(value) if value is not None and value.is_integer() and abs(value) <= MAX_COUNT else None


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def as_parquet(metrics: Sequence[str], chunks: Iterable[Rows]) -> Iterator[bytes]:
    """Parquet, a row group for some chunks. NaN and infinities are themselves.

    Null where nothing was logged, or where a count is no whole number.

    Raises:
        ImportError: pyarrow is not installed; raised at once, not at the first row.
    """
    import pyarrow  # type: ignore[import-untyped]  # it ships no types

    number = pyarrow.float64()
    keys = {"seq": pyarrow.int64(), "step": pyarrow.int64(), "time": number, "mode": pyarrow.string()}
    types = ((name, pyarrow.int64() if name in COUNTS else number) for name in metrics)
    return _parquet(pyarrow.schema([*keys.items(), *types]), chunks)


def _parquet(schema: Any, chunks: Iterable[Rows]) -> Iterator[bytes]:
    from pyarrow import Table, concat_tables
    from pyarrow.parquet import ParquetWriter  # type: ignore[import-untyped]

    written = _Written()
    with ParquetWriter(written, schema) as writer:
        tables = (Table.from_pydict(_counted(rows), schema) for rows in chunks)
        while group := list(islice(tables, CHUNKS_PER_GROUP)):
            writer.write_table(concat_tables(group))
            yield written.taken()
    yield written.taken()


def _counted(rows: Rows) -> dict[str, Any]:
    return {name: [_whole(value) for value in column] if name in COUNTS else column for name, column in rows}


class _Written(io.RawIOBase):
    """A file that is read as it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Parquet's footer says where the row groups are."""
        return self._length

    def write(self, data: Any) -> int:
        """Keep it until it is taken."""
        self._parts.append(bytes(data))
        self._length += len(data)
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken
