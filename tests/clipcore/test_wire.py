"""The trainer's side of the wire is strict JSON, and speaks the server's language."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcore.recorder import Record
from clipcore.wire import MAX_LAYERS, MAX_METRICS, VERSION, decode_number, encode, layers_message, websocket_url
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
    """The trainer's constants are the server's."""
    assert (VERSION, MAX_METRICS, MAX_LAYERS) == (protocol.VERSION, protocol.MAX_METRICS, protocol.MAX_LAYERS)


def test_what_is_no_text_is_replaced():
    """Half a surrogate pair, of a file name that is no UTF-8, would make the server refuse the whole message."""
    text = encode({"type": "error", "reason": "no \udcff.py, but \u00e9 and \U0001f600"})
    assert protocol.to_trainer.validate_json(text).reason == "no ?.py, but \u00e9 and \U0001f600"


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
