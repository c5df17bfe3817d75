"""Whatever a client sends over a websocket, the server stores no nonsense and serves the others as before."""

import copy
import itertools
import json
import math
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed

from server.protocol import VERSION, Hello, Steps
from server.trainer import LeftOut, read
from tests.server.site import TrainerWire, ViewerWire, steps

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "messages.json").read_text())
MANY_DIGITS = "9" * 5000  # Python refuses to write or read an int that long
LAST = {"type": "event", "n": 2**53 - 1, "step": 1, "time": 1.0, "kind": "note"}
SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
fuzzing = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- what is sent ---

numbers = st.one_of(
    st.integers(-2, 2**64),
    st.floats(),
    st.sampled_from([0, 1, 2**53, 2**63, 10**400, True, "1", "1e3", *SPELLED, MANY_DIGITS]),
)
words = st.one_of(st.text(st.characters(), max_size=20), st.sampled_from(["\0", "\ud800", "x" * 100_000]))
values = st.recursive(
    st.one_of(st.none(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)


def places(message):
    """Every container in a message with each key of it."""
    for key in message if isinstance(message, dict) else range(len(message)):
        yield message, key
        if isinstance(message[key], dict | list):
            yield from places(message[key])


@st.composite
def mutated(draw, messages):
    """A message of the wire in which something is missing, replaced, doubled or new."""
    message = copy.deepcopy(draw(st.sampled_from(messages)))
    for _ in range(draw(st.integers(0, 2))):
        if not (found := list(places(message))):
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["drop", "replace", "add"])):
            case "drop":
                del container[key]
            case "replace":
                container[key] = draw(values)
            case "add" if isinstance(container, dict):
                container[draw(words)] = draw(values)
            case "add":
                container.append(copy.deepcopy(container[key]))
    return message


@st.composite
def batches(draw):
    """Steps that are well formed, but come twice, out of order or with gaps, and with metrics of any name."""
    first, count = draw(st.integers(1, 30)), draw(st.integers(0, 8))
    names = draw(st.sets(st.sampled_from(["norm", "own", "own/part", "seq", "metrics", "model_config", "__proto__"])))
    number = st.one_of(st.none(), st.floats(), st.sampled_from([*SPELLED]))
    return steps(
        first, first + count - 1, **{name: draw(st.lists(number, min_size=count, max_size=count)) for name in names}
    )


def text(message):
    """A message as JSON, in which Python's own tokens for what is no JSON number stay."""
    return json.dumps(message).replace(f'"{MANY_DIGITS}"', MANY_DIGITS)


def frames(messages):
    return st.one_of(messages.map(text), values.map(text), st.text(max_size=20), st.binary(max_size=50))


# --- what must hold ---


@pytest.fixture(scope="module")
def site(serve_once):
    return serve_once()


@pytest.fixture(scope="module")
def bystander(site):
    """A trainer that feeds its own run, row by row, while others send nonsense."""
    return Bystander(site)


class Bystander:
    def __init__(self, site):
        self._site = site
        self._wire = site.trainer()
        self._wire.start("bystander")
        self.last = 0

    def is_served(self):
        """Its next row is acknowledged, and all its rows are there, as a new viewer sees."""
        self.last += 1
        assert self._wire.commit(steps(self.last, self.last)) == {"type": "ack", "seq": self.last, "n": 0}
        with closing(ViewerWire(self._site.url)) as viewer:
            rows = viewer.subscribe("bystander")["rows"]
        assert rows["seq"] == rows["norm"] == list(range(1, self.last + 1))


def understood(sent):
    """The messages, also those that are left out, up to the first without a number, or that does not belong there."""
    for index, frame in enumerate(sent):
        try:
            message = read(frame) if isinstance(frame, str) else None
        except ValidationError:
            return
        if message is None or isinstance(message, Hello) != (index == 0):
            return
        if isinstance(message, Hello) and message.version != VERSION:
            return
        yield message


def rows_of(messages):
    """What a run holds after these messages: of each seq beyond the last the values that came first."""
    rows = {}
    for message in messages:
        if isinstance(message, Steps):
            for index in range(len(message.columns)):
                if (seq := message.seq + index) > max(rows, default=0):
                    rows[seq] = {name: column[index] for name, column in message.columns}
    return rows


def check_stored(site, run, expected):
    """The run's rows are those, and everything that is told of it is JSON that a page can read."""
    answers = {
        what: site.http.get(f"/api/runs/{run}{what}") for what in ("", "/events", "/layers", "/changes", "/whatif")
    }
    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 200)
    lines = answers["/events"].json()["events"]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    columns = site.http.get(f"/api/runs/{run}/series", params={"points": 1000}).json()["columns"]
    seqs = columns.pop("seq")
    stored = {seq: {name: column[index] for name, column in columns.items()} for index, seq in enumerate(seqs)}
    assert {seq: logged(row) for seq, row in stored.items()} == {seq: logged(row) for seq, row in expected.items()}


def logged(row):
    """The numbers of a row that are there, NaN being equal to NaN."""
    values = {name: SPELLED.get(value, value) for name, value in row.items() if value is not None}
    return {name: "NaN" if value != value else value for name, value in values.items()}


runs = (f"fuzzed-{number}" for number in itertools.count())


@fuzzing
@given(
    st.one_of(st.just(GOLDEN["trainer_to_server"][0]), mutated(GOLDEN["trainer_to_server"][:1])),
    st.lists(frames(st.one_of(batches(), mutated(GOLDEN["trainer_to_server"]))), max_size=8),
)
def test_a_trainer_may_send_anything(site, bystander, hello, sent):
    """What is understood is stored once, nothing else is, and other trainers notice nothing."""
    run = next(runs)
    sent = [text({**hello, "run": run}), *sent, text(LAST)]
    with closing(TrainerWire(site.url)) as wire:
        with suppress(ConnectionClosed):
            for frame in sent:
                wire.socket.send(frame)
        with suppress(ConnectionClosed):
            while wire.receive().get("n") != LAST["n"]:
                pass
    accepted = list(understood(sent))
    if accepted:
        check_stored(site, run, rows_of(accepted))
        acked = [message["seq"] for message in wire.seen if message["type"] == "ack"]
        assert acked == sorted(acked)
        left_out = {message.last_seq for message in accepted if isinstance(message, LeftOut)}
        assert set(acked) <= {0, *rows_of(accepted), *left_out}
    assert len(accepted) == len(sent) or wire.seen[-1]["type"] == "error"
    bystander.is_served()


@fuzzing
@given(st.lists(frames(mutated(GOLDEN["browser_to_server"])), max_size=12))
def test_a_viewer_may_send_anything(site, bystander, sent):
    """Each frame is answered or obeyed, and afterwards the same connection can be used as if nothing had happened."""
    with closing(ViewerWire(site.url)) as wire:
        for frame in sent:
            wire.socket.send(frame)
        wire.send({"type": "subscribe", "run": "bystander", "since": None})
        bystander.is_served()
        shown = wire.wait("snapshot", lambda message: message["run"] and message["run"]["id"] == "bystander")
        seqs = shown["rows"]["seq"] or [0]
        assert bystander.last in seqs or wire.rows_until(bystander.last)[0] == seqs[-1] + 1
