"""Mistakes in requests are answered with one sentence that a person can act on."""

import pytest

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def attached(serve_once):
    site = serve_once()
    site.trainer().start("r1")
    return site


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"max_norm": }', "body is no JSON: expected value at line 1 column 14"),
        ('{"mode": "\\ud800"}', "body is no JSON: unexpected end of hex escape at line 1 column 17"),
        ('{"a":' * 1000, "body is no JSON: recursion limit exceeded at line 1 column 1006"),
        (b'{"mode": "\xff"}', "body is no JSON: invalid unicode code point at line 1 column 11"),
        ("", "body is missing"),
        ("[1]", "body: Input should be a valid dictionary, got [1]"),
    ],
)
def test_a_body_that_is_no_patch_is_explained(attached, body, sentence):
    """Where it stops being JSON, or what was expected."""
    answer = attached.http.post("/api/runs/r1/control", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs/r1/export", "/healthz", "/openapi.json", "/", "/main.js"])
def test_head_is_answered_as_get_is(attached, path):
    """With the same status and type, and no body."""
    head, get = attached.http.head(path), attached.http.get(path)
    assert (head.status_code, head.headers["content-type"], head.content) == (200, get.headers["content-type"], b"")


def test_a_field_that_is_missing_is_named(attached):
    """Without a value to complain of."""
    answer = attached.http.post("/api/runs/r1/command", json={})
    assert (answer.status_code, answer.json()["detail"]) == (422, "body.command is missing")
