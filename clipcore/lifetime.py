"""The runs at work in this process: they end with the script, and a forked child leaves them to its parent."""

import atexit
import os
from typing import Any, Protocol
from weakref import WeakSet


class Mortal(Protocol):
    """What a run does when its life changes."""

    def _give_way_to(self, other: Any) -> None:
        """Let the other run have its Clipper, if it is the same."""

    def _finish_at_exit(self) -> None:
        """The script is over."""

    def _leave_to_parent(self) -> None:
        """This process is a fork of the run's own."""


def begin(run: Mortal) -> None:
    """A run is at work from now on; those before it give way, if it has their Clipper."""
    for earlier in list(_runs):
        earlier._give_way_to(run)
    _runs.add(run)
    atexit.unregister(_end_all_at_exit)
    atexit.register(_end_all_at_exit)  # before whatever was there before


def end(run: Mortal) -> None:
    """A run has nothing left to deliver."""
    _runs.discard(run)


_runs: WeakSet[Mortal] = WeakSet()  # whose links are at work


def _end_all_at_exit() -> None:
    for run in list(_runs):
        run._finish_at_exit()


def _leave_all_to_parent() -> None:
    for run in list(_runs):
        run._leave_to_parent()
    _runs.clear()


if hasattr(os, "register_at_fork"):  # where there is fork
    os.register_at_fork(after_in_child=_leave_all_to_parent)
