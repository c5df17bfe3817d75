from server import sessions
from server.sessions import LIFETIME_S, Sessions


def test_a_session_holds_until_it_ends():
    """A value is good from login to logout; no other value is, not even an empty one."""
    open_ = Sessions()
    first, second = open_.start(), open_.start()
    assert first != second
    assert open_.holds(first)
    assert not open_.holds("")
    assert not open_.holds(first[:-1])
    open_.end(first)
    open_.end("nobody's")
    assert not open_.holds(first)
    assert open_.holds(second)


def test_a_session_ends_by_itself():
    """After its lifetime nobody needs to end it."""
    now = [0.0]
    open_ = Sessions(clock=lambda: now[0])
    value = open_.start()
    now[0] = LIFETIME_S - 1
    assert open_.holds(value)
    now[0] = LIFETIME_S
    assert not open_.holds(value)


def test_memory_is_bounded(monkeypatch):
    """Beyond so many logins the oldest ends."""
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    open_ = Sessions()
    values = [open_.start() for _ in range(5)]
    assert [open_.holds(value) for value in values] == [False, False, True, True, True]
