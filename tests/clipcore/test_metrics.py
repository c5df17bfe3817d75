"""Which metrics of a script's own are taken."""

import pytest

from clipcore.metrics import OWN_METRICS, Admission


@pytest.fixture
def said():
    return []


@pytest.fixture
def admission(said):
    return Admission(said.append)


def test_the_metrics_that_came_first_are_kept(admission, said):
    """Beyond the limit the later ones are left out, in the order of the call, and stay out."""
    names = [f"m{number}" for number in range(OWN_METRICS + 2)]
    for _ in range(2):
        assert list(admission.admit(dict.fromkeys(names, 1.0))) == names[:OWN_METRICS]
    assert len(set(said)) == 2
    assert f"metric 'm{OWN_METRICS}': a run has at most {OWN_METRICS} metrics of its own" in said[0]


def test_known_metrics_are_passed_on_as_they_are(admission, said):
    """A step whose names are all known costs no copy."""
    metrics = {"loss": 1.0, "val/acc-1": 2.0, "_x": 3.0}
    assert admission.admit(metrics) == metrics
    assert admission.admit(metrics) is metrics
    assert said == []


@pytest.mark.parametrize("name", ["norm", "seq", "time", "mode"])
def test_a_column_of_every_step_is_no_metric(admission, said, name):
    """The sentence names it; the other metrics are taken."""
    assert admission.admit({name: 1.0, "loss": 2.0}) == {"loss": 2.0}
    assert said == [f"run.log leaves out metric {name!r}: every step has a column of that name already"]


@pytest.mark.parametrize("name", ["", "1st", "my metric", "h\u00f6he", "m" * 65])
def test_a_name_that_the_wire_cannot_carry_is_left_out(admission, said, name):
    """The sentence gives the rule."""
    assert admission.admit({name: 1.0}) == {}
    rule = "a name is a letter or _, then up to 63 of A-Z a-z 0-9 _ . / -"
    assert said == [f"run.log leaves out metric {name!r}: {rule}"]
