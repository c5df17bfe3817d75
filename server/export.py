"""A run's rows as a file, made while it is being read: memory does not grow with the run."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from clipcore.wire import spelled
from server.protocol import Rows

KEYS = ("seq", "step", "time", "mode")
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
    return zip(*([spelled(value) for value in columns[name]] for name in (*KEYS, *metrics)), strict=True)


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def as_parquet(metrics: Sequence[str], chunks: Iterable[Rows]) -> Iterator[bytes]:
    """Parquet, a row group for some chunks. Null where nothing was logged; NaN and infinities are themselves.

    Raises:
        ImportError: pyarrow is not installed; raised at once, not at the first row.
    """
    import pyarrow  # type: ignore[import-untyped]  # it ships no types

    number = pyarrow.float64()
    keys = {"seq": pyarrow.int64(), "step": pyarrow.int64(), "time": number, "mode": pyarrow.string()}
    return _parquet(pyarrow.schema([*keys.items(), *((name, number) for name in metrics)]), chunks)


def _parquet(schema: Any, chunks: Iterable[Rows]) -> Iterator[bytes]:
    from pyarrow import Table, concat_tables
    from pyarrow.parquet import ParquetWriter  # type: ignore[import-untyped]

    written = _Written()
    with ParquetWriter(written, schema) as writer:
        tables = (Table.from_pydict(dict(rows), schema) for rows in chunks)
        while group := list(islice(tables, CHUNKS_PER_GROUP)):
            writer.write_table(concat_tables(group))
            yield written.taken()
    yield written.taken()


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
