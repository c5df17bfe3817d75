"""The rules as the page gets them."""

import json
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "fixtures" / "rules.json"


def test_the_pages_tests_know_the_engines_rules(site):
    """The fixture that node's tests read is what the server answers with."""
    assert site.http.get("/api/rules").json() == json.loads(GOLDEN.read_text())
