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
        ('{"max_norm": }', "body is no JSON: Expecting value, at character 13"),
        ("", "body is missing"),
        ("[1]", "body: Input should be a valid dictionary, got [1]"),
    ],
)
def test_a_body_that_is_no_patch_is_explained(attached, body, sentence):
    """Where it stops being JSON, or what was expected."""
    answer = attached.http.post("/api/runs/r1/control", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_a_field_that_is_missing_is_named(attached):
    """Without a value to complain of."""
    answer = attached.http.post("/api/runs/r1/command", json={})
    assert (answer.status_code, answer.json()["detail"]) == (422, "body.command is missing")
