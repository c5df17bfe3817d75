import json
import math
from collections import Counter
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from clipcore.rules import RULES
from server.protocol import Columns, from_browser
from server.wording import SHARED, changes_label, changes_line, first_error_line

CHANGES = json.loads((Path(__file__).parents[1] / "fixtures" / "changes.json").read_text())


@pytest.mark.parametrize("case", CHANGES, ids=[case["why"] for case in CHANGES])
def test_changes_read_as_on_the_page(case):
    """The page's own test reads the same cases; in files and terminals the arrow is of ASCII."""
    assert changes_line(case["changes"]) == case["line"].replace("→", "->")
    assert changes_label(case["changes"]) == case["label"].replace("→", "->")


def test_what_several_modes_have_is_known():
    """A change of mode brings the new mode's own value of these."""
    having = Counter(parameter.name for rule in RULES.values() for parameter in rule.parameters)
    assert {name for name, modes in having.items() if modes > 1} == SHARED


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"max_norm": (2.0, 1.0)}, "max_norm 2 -> 1"),
        ({"max_norm": (0.123456, 0.5)}, "max_norm 0.123 -> 0.5"),
        ({"max_norm": (1.0, 1.0001)}, "max_norm 1 -> 1.0001"),
        ({"max_norm": (1e-8, 1500.0)}, "max_norm 1e-08 -> 1500"),
        ({"max_norm": (12345.678, math.inf)}, "max_norm 1.23e+04 -> inf"),
        ({"window": (1000, 50), "exclude": (["a"], [])}, "window 1000 -> 50, exclude ['a'] -> []"),
        (
            {"mode": ("norm", "value"), "clip_value": (None, 0.1), "max_norm": (1.0, None)},
            "mode norm -> value, clip_value 0.1",
        ),
        ({}, ""),
    ],
)
def test_a_change_reads_like_a_note(changes, line):
    """Three significant digits, more where it takes more to see a difference; what a mode lacks is left out."""
    assert changes_line(changes) == line


def test_a_mistake_names_place_rule_and_value():
    """One line, and a long value is cut short."""
    with pytest.raises(ValidationError) as caught:
        Columns.model_validate({"step": [-1], "time": [0.0], "mode": ["norm"]})
    assert first_error_line(caught.value.errors()) == "step.0: Input should be greater than or equal to 0, got -1"
    with pytest.raises(ValidationError) as caught:
        Columns.model_validate({"step": [1], "time": [], "mode": ["norm"]})
    assert first_error_line(caught.value.errors()) == "column 'time' must be as long as step (=1), got 0"
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x" * 1000)
    assert len(first_error_line(caught.value.errors())) < 200


@pytest.mark.parametrize(
    "message", [{"type": "x" * 10**6}, {"type": "subscribe", "x" * 10**6: 1}, {"type": "control", "id": "x" * 10**6}]
)
def test_a_mistake_without_end_is_a_short_line(message):
    """However long the names and values of what is wrong are, the line is not."""
    with pytest.raises(ValidationError) as caught:
        from_browser.validate_python(message)
    assert len(first_error_line(caught.value.errors())) < 500
