"""One rule for the token, wherever it is given: to the server, to its command line, to a trainer."""

import pytest
from pydantic import ValidationError

from clipcore import link
from server.client import Client, RequestError
from server.settings import Settings


def given_to_the_server(token):
    return Settings(token=token).token


def given_to_the_command_line(token):
    return Client("http://127.0.0.1:1", token)._headers.get("Authorization", "").removeprefix("Bearer ")


def given_to_a_trainer(token):
    return link.header_token(token) or ""


everywhere = pytest.mark.parametrize("taken", [given_to_the_server, given_to_the_command_line, given_to_a_trainer])


@everywhere
@pytest.mark.parametrize(
    ("token", "expected"),
    [("", ""), (" \n", ""), ("s3cret", "s3cret"), ("s3cret\n", "s3cret"), (" s3cret", "s3cret"), ("\ta b\r\n", "a b")],
)
def test_white_space_around_a_token_is_no_part_of_it(taken, token, expected):
    """A file's line end is neither sent nor asked for; what is inside stays."""
    assert taken(token) == expected


@everywhere
@pytest.mark.parametrize("token", ["s3cr\u00e9t", "s3cret\nX-Header: 1", "a\tb", "s3c\x00ret", "s3cret\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(taken, token):
    """Before it is sent or waited for, and the sentence does not quote it."""
    with pytest.raises((ValueError, RequestError), match="token must be printable ASCII") as refusal:
        taken(token)
    said = refusal.value.errors()[0]["msg"] if isinstance(refusal.value, ValidationError) else str(refusal.value)
    assert token not in said
