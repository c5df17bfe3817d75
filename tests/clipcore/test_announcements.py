"""Which patches that took effect are told, by whichever thread sees them first."""

from collections import deque

import pytest

from clipcore.announcements import Announcements
from clipcore.settings import Update


@pytest.fixture
def told():
    return []


@pytest.fixture
def obeyed():
    return deque(maxlen=4)


@pytest.fixture
def announcements(obeyed, told):
    obeyed.append(Update({"max_norm": 0.0}))  # of an earlier run
    return Announcements(obeyed, lambda control_id, update: told.append((control_id, update.patch["max_norm"])))


def test_each_is_told_once_in_order(announcements, obeyed, told):
    """However many took effect between two looks; what held before is no news."""
    announcements.announce()
    assert told == []
    obeyed.extend([Update({"max_norm": 1.0}), Update({"max_norm": 2.0})])
    announcements.announce()
    announcements.announce()
    assert told == [(None, 1.0), (None, 2.0)]


def test_a_control_is_told_under_its_id(announcements, obeyed, told):
    """Among those of the script, which have none."""
    asked = Update({"max_norm": 2.0})
    announcements.expect("c1", lambda: asked)
    obeyed.extend([Update({"max_norm": 1.0}), asked])
    announcements.announce()
    assert told == [(None, 1.0), ("c1", 2.0)]


def test_more_than_are_kept(announcements, obeyed, told):
    """The latest are told when older ones are gone, among them the last that was told."""
    obeyed.extend(Update({"max_norm": float(number)}) for number in range(1, 7))
    announcements.announce()
    assert told == [(None, 3.0), (None, 4.0), (None, 5.0), (None, 6.0)]


def test_nothing_is_told_after_the_end(announcements, obeyed, told):
    """What took effect until then is."""
    obeyed.append(Update({"max_norm": 1.0}))
    announcements.end()
    obeyed.append(Update({"max_norm": 2.0}))
    announcements.announce()
    assert told == [(None, 1.0)]
