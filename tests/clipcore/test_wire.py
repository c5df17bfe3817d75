"""The trainer's side of the wire is strict JSON, and speaks the server's language."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcore import knobs, wire
from clipcore.recorder import Record
from clipcore.wire import (
    MAX_LAYERS,
    MAX_OBJECT_BYTES,
    MAX_OBJECT_DEPTH,
    decode_number,
    encode,
    fitting,
    layers_message,
    websocket_url,
)
from server import protocol


@given(st.recursive(st.floats() | st.integers(-5, 5) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_encode_is_json_and_decode_number_brings_the_floats_back(value):
    """Strict JSON whatever the floats; every float survives the round trip."""

    def restored(item):
        return [restored(inner) for inner in item] if isinstance(item, list) else decode_number(item)

    def fail(name):
        pytest.fail(f"{name} is not JSON")

    assert repr(restored(json.loads(encode({"v": value}), parse_constant=fail)["v"])) == repr(restored(value))


def test_layers_carry_the_filled_range_of_the_exponents():
    """Bins beyond the first and the last non-empty one do not travel; zeros are counted apart."""
    exponents = [*[0] * 118, 3, 0, 25, *[0] * 135, 7]
    record = Record(3, 1.0, "norm", {}, ([1.0], [0.5], [0.0]), exponents)
    message = layers_message(record, every=64)
    assert message["histogram"] == {"first": 118, "counts": [3, 0, 25], "zeros": 7, "every": 64}
    assert protocol.from_trainer.validate_json(encode(message)).histogram.counts == [3, 0, 25]


def test_layers_without_any_element_still_make_a_message():
    """All bins empty: the range is empty too."""
    message = layers_message(Record(1, 1.0, "off", {}, ([], [], []), [0] * 257), every=1)
    assert message["histogram"]["counts"] == []
    protocol.from_trainer.validate_json(encode(message))


def test_layers_beyond_what_the_server_takes_stay_behind():
    """A model of more parameters is shown up to there, rather than refused."""
    numbers = [1.0] * (MAX_LAYERS + 1)
    message = layers_message(Record(1, 1.0, "norm", {}, (numbers, numbers, numbers), None), every=64)
    assert len(protocol.from_trainer.validate_json(encode(message)).norm) == MAX_LAYERS


def test_both_sides_agree_on_version_and_limits():
    """Each constant of the trainer's is one of the server's, which may import nothing of the trainer's side."""
    limits = {"VERSION": wire.VERSION, "MAX_KNOBS": knobs.MAX_KNOBS}
    limits |= {name: value for name, value in vars(wire).items() if name.startswith("MAX_")}
    assert limits == {name: getattr(protocol, name) for name in limits}


def test_what_is_no_text_is_replaced():
    """Half a surrogate pair, of a file name that is no UTF-8, would make the server refuse the whole message."""
    text = encode({"type": "error", "reason": "no \udcff.py, but \u00e9 and \U0001f600"})
    assert protocol.to_trainer.validate_json(text).reason == "no ?.py, but \u00e9 and \U0001f600"


def nested(levels):
    """An object that deep, itself counted."""
    value = 1
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"a": "x" * (MAX_OBJECT_BYTES - 8)},
        {"a": "\u00e9" * ((MAX_OBJECT_BYTES - 8) // 2)},
        {"a": "\0" * 10_000},
        {"a": [1e22, 1e-7, 0.1 + 0.2] * 1000},
        {"a": list(range(5000)), "b": list(range(5000))},
        nested(MAX_OBJECT_DEPTH),
        {},
    ],
)
def test_what_fits_is_sent_and_taken_whole(fields):
    """Up to the very last byte and level both sides count alike."""
    assert fitting(fields) == fields
    assert protocol.bounded(fields) == fields


@pytest.mark.parametrize(
    "value",
    ["x" * (MAX_OBJECT_BYTES - 7), nested(MAX_OBJECT_DEPTH), list(range(20_000))],
    ids=["long", "deep", "wide"],
)
def test_what_does_not_fit_is_left_out_and_would_be_refused(value):
    """The field goes, the others stay."""
    with pytest.raises(ValueError, match=r"must (have|be nested) at most"):
        protocol.bounded({"a": value})
    assert fitting({"lr": 0.1, "a": value, "name": "b"}) == {"lr": 0.1, "name": "b"}


def test_the_largest_give_way():
    """Of fields that each fit, as many stay as fit together, in the order that they had."""
    fields = {f"f{n}": "x" * n * 10_000 for n in (3, 1, 4, 2)}
    kept = fitting(fields)
    assert list(kept) == ["f3", "f1", "f2"]
    protocol.bounded(kept)


def test_what_cannot_be_written_is_left_out():
    """Whatever is in a script's configuration, describing the run raises nothing."""

    class Silent:
        def __str__(self):
            raise ZeroDivisionError

    endless = []
    endless.append(endless)
    assert fitting({"a": endless, "b": Silent(), "c": {(1, 2): 3}, "d": nested(5000), "e": 1}) == {"e": 1}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8420", "ws://127.0.0.1:8420/ws/train"),
        ("https://host/tools/clipcore/", "wss://host/tools/clipcore/ws/train"),
    ],
)
def test_a_server_under_a_path_is_found(url, expected):
    """Http becomes ws, https wss, and a proxy's path stays."""
    assert websocket_url(url) == expected
