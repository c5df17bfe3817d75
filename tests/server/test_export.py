"""Files of a run hold every row as it was."""

import io
import math
import sys

import pytest
from pyarrow import parquet

from server import export
from server.export import as_csv, as_jsonl, as_parquet
from server.rows import make_rows
from tests.server.site import steps


def rows(first, last, **metrics):
    seqs = list(range(first, last + 1))
    return make_rows({"seq": seqs, "step": seqs, "time": [0.5] * len(seqs), "mode": ["norm"] * len(seqs), **metrics})


def test_parquet_keeps_numbers_as_they_are():
    """NaN and infinities stay themselves, what was not logged is null, and every column has its type."""
    odd = [math.nan, math.inf, -math.inf, None, 1e-45, 5e300]
    file = io.BytesIO(b"".join(as_parquet(["norm", "my/own"], [rows(1, 6, norm=odd, **{"my/own": [None] * 6})])))
    table = parquet.read_table(file)
    assert [f"{field.name} {field.type}" for field in table.schema] == [
        "seq int64",
        "step int64",
        "time double",
        "mode string",
        "norm double",
        "my/own double",
    ]
    norms = table["norm"].to_pylist()
    assert math.isnan(norms[0])
    assert norms[1:] == odd[1:]
    assert table["my/own"].null_count == 6
    assert table["mode"].to_pylist() == ["norm"] * 6


def test_counts_are_whole_numbers():
    """In every format; what was not logged stays out, and what a stranger calls a count is told where that can be."""
    counts = [25.0, None, 0.0, 0.5, math.nan, 1e300]
    run = rows(1, 6, clamped=counts, coef=[1.0] * 6)
    lines = "".join(as_csv(["clamped", "coef"], [run])).splitlines()
    assert [line.split(",")[-2:] for line in lines] == [
        ["clamped", "coef"],
        *([count, "1.0"] for count in ("25", "", "0", "0.5", "NaN", "1e+300")),
    ]
    objects = "".join(as_jsonl(["clamped"], [run])).splitlines()
    assert [line.partition('"clamped": ')[2] for line in objects] == ["25}", "null}", "0}", "0.5}", '"NaN"}', "1e+300}"]
    table = parquet.read_table(io.BytesIO(b"".join(as_parquet(["clamped", "coef"], [run]))))
    assert [f"{field.type}" for field in table.schema][-2:] == ["int64", "double"]
    assert table["clamped"].to_pylist() == [25, None, 0, None, None, None]


def test_parquet_is_written_as_it_is_read(monkeypatch):
    """A row group leaves before the next is read, so that memory does not grow with the run."""
    monkeypatch.setattr(export, "CHUNKS_PER_GROUP", 2)
    read = []

    def chunks():
        for n in range(5):
            read.append(n)
            yield rows(10 * n + 1, 10 * n + 10, norm=[float(n)] * 10)

    parts = as_parquet(["norm"], chunks())
    first = next(parts)
    assert (read, len(first) > 100) == ([0, 1], True)
    file = parquet.ParquetFile(io.BytesIO(first + b"".join(parts)))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [20, 20, 10]
    assert file.read()["seq"].to_pylist() == list(range(1, 51))


def test_parquet_of_a_run_without_rows_is_a_table_without_rows():
    """A file all the same, with its columns."""
    table = parquet.read_table(io.BytesIO(b"".join(as_parquet(["norm"], []))))
    assert (table.num_rows, table.column_names) == (0, ["seq", "step", "time", "mode", "norm"])


def test_a_run_is_downloaded_as_parquet(site):
    """The route streams all of a run that is longer than what is read at a time."""
    trainer = site.trainer()
    trainer.start("r1")
    for first in range(1, 5000, 1000):
        trainer.commit(steps(first, first + 999, norm=lambda seq: "Infinity" if seq == 4999 else float(seq)))
    answer = site.http.get("/api/runs/r1/export?format=parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"] == 'attachment; filename="r1.parquet"'
    norms = parquet.read_table(io.BytesIO(answer.content))["norm"].to_pylist()
    assert norms == [*map(float, range(1, 4999)), math.inf, 5000.0]


def test_without_pyarrow_it_is_named(site, cli, monkeypatch):
    """A server without it says what to install, also to the command line; the other formats need nothing."""
    site.trainer().start("r1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = site.http.get("/api/runs/r1/export?format=parquet")
    assert answer.status_code == 501
    sentence = "Parquet needs pyarrow, which this server lacks: pip install pyarrow"
    assert answer.json() == {"detail": sentence}
    assert cli(site, "export", "r1", "--format", "parquet") == (1, "", f"Error: {sentence}\n")
    assert site.http.get("/api/runs/r1/export?format=csv").status_code == 200


def test_modes_that_are_taken_no_more_can_be_read(serve):
    """What is in a database from before stays text, in files, over HTTP and for viewers."""
    site = serve()
    trainer = site.trainer()
    trainer.start("r1")
    trainer.commit(steps(1, 1))
    old = rows(2, 3, norm=[1.0, 2.0])
    site.store.append("r1", old.model_copy(update={"mode": ["NaN", "=1+1"]})).result(5)
    modes = ["norm", "NaN", "=1+1"]
    assert site.http.get("/api/runs/r1/series").json()["columns"]["mode"] == modes
    table = parquet.read_table(io.BytesIO(site.http.get("/api/runs/r1/export?format=parquet").content))
    assert table["mode"].to_pylist() == modes
    site.close()
    assert serve().viewer().subscribe("r1")["rows"]["mode"] == modes


@pytest.mark.parametrize("path", ["export", "export?format=parquet", "changes", "report"])
def test_a_run_that_is_not_there_cannot_be_downloaded(site, path):
    """Each says so with 404."""
    assert site.http.get(f"/api/runs/none/{path}").status_code == 404


def test_parquet_has_the_columns_that_were_known_when_it_began():
    """A metric that is first logged while the file is being written does not upset it."""
    chunks = [rows(1, 2, norm=[1.0, 2.0]), rows(3, 4, norm=[3.0, 4.0], late=[1.0, 1.0])]
    table = parquet.read_table(io.BytesIO(b"".join(as_parquet(["norm"], chunks))))
    assert table.column_names == ["seq", "step", "time", "mode", "norm"]
    assert table["norm"].to_pylist() == [1.0, 2.0, 3.0, 4.0]
