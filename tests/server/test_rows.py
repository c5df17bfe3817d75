import math

import pytest

from server.protocol import Columns, Rows
from server.rows import after, joined, logged, make_rows, numbered, until


def rows(*seqs, **metrics):
    columns = {"seq": list(seqs), "step": list(seqs), "time": [0.0] * len(seqs), "mode": ["norm"] * len(seqs)}
    return make_rows(columns | metrics)


def test_a_batch_is_numbered_from_its_first_seq():
    """Row i of a batch has seq first + i."""
    batch = Columns(step=[1, 2], time=[0, 0], mode=["norm", "norm"], norm=[1.0, "NaN"])
    numbered_rows = numbered(7, batch)
    assert numbered_rows.seq == [7, 8]
    assert math.isnan(numbered_rows.metrics["norm"][1])


@pytest.mark.parametrize("name", ["_fields_set", "model_dump", "metrics", "a/b.c-d", "columns", "self"])
def test_a_metric_may_have_any_name(name):
    """No name of a metric means anything to the code, on the way in or out."""
    batch = Columns.model_validate({"step": [1], "time": [0], "mode": ["norm"], name: [2.5]})
    assert numbered(1, batch).metrics == {name: [2.5]}
    written = Rows.model_validate_json(joined([numbered(1, batch), numbered(2, batch)]).model_dump_json())
    assert written.metrics == {name: [2.5, 2.5]}


def test_after_and_until_cut_by_seq():
    """`after` excludes its seq, `until` includes it, and gaps between seqs do not matter."""
    whole = rows(1, 2, 5, 9, norm=[1.0, 2.0, 5.0, 9.0])
    assert after(whole, 2).metrics["norm"] == [5.0, 9.0]
    assert after(whole, 3).seq == [5, 9]
    assert after(whole, 9).seq == []
    assert after(whole, 0) is whole
    assert until(whole, 4).seq == [1, 2]
    assert until(whole, 5).metrics["norm"] == [1.0, 2.0, 5.0]
    assert until(whole, 9) is whole


def test_joined_fills_what_a_part_lacks_with_none():
    """A metric that only some parts have is None in the others, wherever it first appears."""
    whole = joined([rows(1, norm=[1.0]), rows(2, loss=[2.0]), rows(3, norm=[3.0], loss=[4.0])])
    assert whole.seq == [1, 2, 3]
    assert whole.metrics == {"norm": [1.0, None, 3.0], "loss": [None, 2.0, 4.0]}


def test_logged_leaves_out_empty_metrics_only():
    """A metric with one value stays, be it NaN or 0; one without any goes; seq and step stay always."""
    kept = logged(rows(1, 2, a=[None, math.nan], b=[None, None], c=[0.0, None]))
    assert list(kept.metrics) == ["a", "c"]
    assert kept.seq == [1, 2]
