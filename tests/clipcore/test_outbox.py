"""What a trainer owes the server: nothing is lost, nothing is sent twice without need, memory is bounded."""

import json
import math
import tempfile
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from clipcore.outbox import FRAME_ROWS, Outbox
from clipcore.recorder import Record
from clipcore.spool import Spool


def record(step, **values):
    return Record(step=step, time=float(step), mode="norm", values=values, layers=None, exponents=None)


def records(count, first=1):
    return [record(step, norm=float(step)) for step in range(first, first + count)]


def seqs(frames):
    """The seq of every row in the steps frames, in order."""
    messages = [json.loads(frame) for frame in frames]
    return [
        message["seq"] + row
        for message in messages
        if message["type"] == "steps"
        for row in range(len(message["columns"]["step"]))
    ]


def test_rows_are_numbered_from_one_and_sent_once():
    """A second call has nothing to send."""
    outbox = Outbox()
    outbox.add_rows(records(3))
    assert seqs(outbox.unsent()) == [1, 2, 3]
    assert list(outbox.unsent()) == []


def test_who_takes_some_frames_gets_the_others_next():
    """None twice, and an acknowledgement of all that were taken is nothing strange."""
    outbox = Outbox()
    for first in (1, 4, 7):
        outbox.add_rows(records(3, first))
        list(outbox.unsent())
    outbox.rewind()
    assert seqs(islice(outbox.unsent(), 2)) == [1, 2, 3, 4, 5, 6]
    outbox.acknowledge(6, 0)
    assert outbox.take_foreign_rows() == 0
    assert seqs(outbox.unsent()) == [7, 8, 9]


def test_after_a_rewind_only_what_is_not_acknowledged_is_sent_again():
    """Acknowledged frames are forgotten, the others come again with the same numbers."""
    outbox = Outbox()
    for first in (1, 4, 7):
        outbox.add_rows(records(3, first))
        list(outbox.unsent())
    outbox.acknowledge(3, 0)
    outbox.rewind()
    assert seqs(outbox.unsent()) == [4, 5, 6, 7, 8, 9]


def test_what_is_sent_is_in_flight_until_it_is_acknowledged():
    """Rows and notes; after a rewind nothing is."""
    outbox = Outbox()
    outbox.add_rows(records(FRAME_ROWS + 1))
    outbox.add_note("event")
    assert outbox.in_flight == 0
    assert len(list(outbox.unsent())) == outbox.in_flight == 3
    outbox.acknowledge(FRAME_ROWS, 0)
    assert outbox.in_flight == 2
    outbox.acknowledge(FRAME_ROWS + 1, 1)
    assert outbox.in_flight == 0
    outbox.add_rows(records(1))
    list(outbox.unsent())
    outbox.rewind()
    assert outbox.in_flight == 0


def test_rows_of_another_process_are_noticed():
    """What the server has beyond all that was sent from here came from elsewhere; what was there before is no news."""
    outbox = Outbox()
    outbox.welcome(100, 0)
    assert outbox.take_foreign_rows() == 0
    outbox.add_rows(records(50))
    assert len(seqs(outbox.unsent())) == 50
    outbox.rewind()
    outbox.welcome(150, 0)
    assert outbox.take_foreign_rows() == 0
    outbox.add_rows(records(10, first=51))
    outbox.welcome(400, 0)
    assert outbox.take_foreign_rows() == 250
    assert outbox.take_foreign_rows() == 0


def test_notes_follow_the_rows_and_are_acknowledged_by_their_own_number():
    """A note keeps its n over a rewind, and the outbox is empty when both numbers are acknowledged."""
    outbox = Outbox()
    outbox.add_note("event", kind="note")
    outbox.add_rows(records(1))
    outbox.add_note("finish", state="finished")
    assert [json.loads(frame)["type"] for frame in outbox.unsent()] == ["steps", "event", "finish"]
    outbox.acknowledge(1, 1)
    outbox.rewind()
    assert [json.loads(frame) for frame in outbox.unsent()] == [{"type": "finish", "n": 2, "state": "finished"}]
    assert not outbox.empty
    outbox.acknowledge(1, 2)
    assert outbox.empty


def test_a_metric_missing_from_a_row_is_null_and_a_nan_is_not():
    """`null` says not logged; NaN and infinities travel as words."""
    outbox = Outbox()
    outbox.add_rows([record(1, norm=math.inf, val_loss=math.nan), record(2, norm=-math.inf)])
    (frame,) = outbox.unsent()
    columns = json.loads(frame)["columns"]
    assert columns["norm"] == ["Infinity", "-Infinity"]
    assert columns["val_loss"] == ["NaN", None]


def test_a_frame_holds_a_bounded_number_of_rows():
    """The server limits the rows of a batch."""
    outbox = Outbox()
    outbox.add_rows(records(2 * FRAME_ROWS + 1))
    assert [len(json.loads(frame)["columns"]["step"]) for frame in outbox.unsent()] == [FRAME_ROWS, FRAME_ROWS, 1]


def test_rows_beyond_memory_wait_on_disk():
    """They come in order with the others, again after a rewind, and the disk is free when they are acknowledged."""
    spool = Spool()
    outbox = Outbox(memory_rows=2 * FRAME_ROWS, spool=spool)
    outbox.add_rows(records(5 * FRAME_ROWS))
    everything = list(range(1, 5 * FRAME_ROWS + 1))
    assert outbox.pending_rows == len(everything)
    assert seqs(outbox.unsent()) == everything
    outbox.acknowledge(FRAME_ROWS, 0)
    outbox.rewind()
    assert seqs(outbox.unsent()) == everything[FRAME_ROWS:]
    assert spool.size > 0
    outbox.acknowledge(4 * FRAME_ROWS, 0)
    assert (spool.size, outbox.pending_rows, outbox.take_lost_rows()) == (0, FRAME_ROWS, 0)


def test_rows_give_way_when_the_disk_is_full_too_and_are_counted():
    """The newest rows survive, and what was lost is said once."""
    outbox = Outbox(memory_rows=2 * FRAME_ROWS, spool=Spool(limit=0))
    outbox.add_rows(records(5 * FRAME_ROWS))
    assert outbox.take_lost_rows() == 3 * FRAME_ROWS
    assert outbox.take_lost_rows() == 0
    assert seqs(outbox.unsent()) == list(range(3 * FRAME_ROWS + 1, 5 * FRAME_ROWS + 1))


def test_rows_that_give_way_on_their_way_are_lost_if_the_server_never_had_them():
    """Whether it has them, its acknowledgement tells, or the next welcome after the connection broke."""
    outbox = Outbox(memory_rows=FRAME_ROWS, spool=Spool(limit=0))
    outbox.welcome(0, 0)
    outbox.add_rows(records(FRAME_ROWS))
    assert len(seqs(outbox.unsent())) == FRAME_ROWS
    outbox.add_rows(records(FRAME_ROWS, FRAME_ROWS + 1))
    outbox.acknowledge(FRAME_ROWS, 0)
    outbox.rewind()
    outbox.welcome(FRAME_ROWS, 0)
    assert outbox.take_lost_rows() == 0
    assert len(seqs(outbox.unsent())) == FRAME_ROWS
    outbox.add_rows(records(FRAME_ROWS, 2 * FRAME_ROWS + 1))
    outbox.rewind()
    outbox.welcome(FRAME_ROWS, 0)
    assert outbox.take_lost_rows() == FRAME_ROWS
    assert seqs(outbox.unsent())[0] == 2 * FRAME_ROWS + 1


def test_a_disk_that_fails_costs_the_rows_that_it_should_have_kept(tmp_path, monkeypatch):
    """And nothing else: no exception reaches the trainer, and a disk with room again is used again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    outbox = Outbox(memory_rows=FRAME_ROWS)
    outbox.add_rows(records(2 * FRAME_ROWS))
    assert outbox.take_lost_rows() == FRAME_ROWS
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    outbox.add_rows(records(FRAME_ROWS, 2 * FRAME_ROWS + 1))
    assert seqs(outbox.unsent()) == list(range(FRAME_ROWS + 1, 3 * FRAME_ROWS + 1))


@given(st.lists(st.tuples(st.sampled_from(["add", "send", "ack", "reconnect"]), st.integers(1, 40)), max_size=60))
def test_every_row_arrives_whatever_the_order_of_events(events):
    """Against a server that commits what it gets in order, no row is ever missing, and none is renumbered."""
    outbox, added, received = Outbox(), 0, 0
    for event, amount in [*events, ("reconnect", 1), ("send", 1)]:
        match event:
            case "add":
                outbox.add_rows(records(amount, added + 1))
                added += amount
            case "send":
                for seq in seqs(outbox.unsent()):
                    assert seq <= received + 1
                    received = max(received, seq)
            case "ack":
                outbox.acknowledge(min(received, amount), 0)
            case "reconnect":
                outbox.rewind()
    assert received == added


def test_numbers_go_on_from_an_earlier_process_of_the_run():
    """A training that was killed and goes on under its run's id loses neither its old steps nor its new ones."""
    outbox = Outbox()
    outbox.add_rows(records(3))
    outbox.add_note("event", kind="note")
    outbox.welcome(7, 2)
    sent = list(outbox.unsent())
    assert seqs(sent) == [8, 9, 10]
    assert json.loads(sent[-1]) == {"n": 3, "type": "event", "kind": "note"}
    outbox.rewind()
    outbox.welcome(10, 2)
    assert [json.loads(frame)["n"] for frame in outbox.unsent()] == [3]
    outbox.acknowledge(10, 3)
    assert outbox.empty
