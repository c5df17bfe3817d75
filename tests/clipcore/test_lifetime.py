"""What becomes of runs when another begins, when the script ends and in a forked child."""

import os
import subprocess
import sys

import pytest

from clipcore import lifetime

STUB = """
import atexit, os
from clipcore import lifetime

class Stub:
    def __init__(self, name):
        self.name = name
        lifetime.begin(self)

    def _give_way_to(self, other):
        print(self.name, "gives way", flush=True)

    def _finish_at_exit(self):
        print(self.name, "finishes", flush=True)

    def _leave_to_parent(self):
        print(self.name, "is left", flush=True)
"""


def said_by(script):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STUB + script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class Recorded:
    def __init__(self):
        self.others = []

    def _give_way_to(self, other):
        self.others.append(other)

    def _finish_at_exit(self):
        raise AssertionError("it had ended")

    _leave_to_parent = _finish_at_exit


def test_a_run_that_begins_is_shown_to_those_at_work():
    """To each of them, and not to one that has ended."""
    first, second, third = Recorded(), Recorded(), Recorded()
    lifetime.begin(first)
    lifetime.begin(second)
    lifetime.end(first)
    lifetime.begin(third)
    lifetime.end(second)
    lifetime.end(third)
    assert (first.others, second.others, third.others) == ([second], [third], [])


def test_an_exit_finishes_what_is_at_work_before_older_handlers_run():
    """Once each, also when several have begun; what has ended or is gone is not asked."""
    script = """
atexit.register(print, "an older handler")
kept, ended, gone = Stub("kept"), Stub("ended"), Stub("gone")
lifetime.end(ended)
del gone
print("--")
"""
    said = said_by(script)
    assert said[said.index("--") + 1 :] == ["kept finishes", "an older handler"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_runs_to_its_parent():
    """The child is told at once, and neither ends them nor has them give way; the parent ends them."""
    script = """
run = Stub("ours")
if (child := os.fork()) == 0:
    childs = Stub("the child's")
else:
    assert os.waitpid(child, 0)[1] == 0
"""
    assert said_by(script) == ["ours is left", "the child's finishes", "ours finishes"]
