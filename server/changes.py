"""A run's changes as one document: people read it, `clipcore train --schedule` makes the same changes again."""

from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import JsonValue

from server.protocol import Count, LogEntry, Message, Patch, RunId, RunInfo

Changes = dict[str, tuple[JsonValue, JsonValue]]  # parameter -> (before, after); None: the mode has no such parameter


class Change(Message):
    """One change of the clipper's configuration.

    Attributes:
        step: the first step that obeyed.
        time: when it did, unix s.
        by: who asked: the script itself, or somebody through the server.
        changes: what changed.
        config: the whole configuration from that step on.
    """

    step: Count
    time: float
    by: Literal["script", "request"]
    changes: Changes
    config: Patch


class ChangeLog(Message):
    """How a run was clipped, from its first step to its last.

    Attributes:
        config: what the run was started with.
        start: the clipper's configuration before the first change.
    """

    run: RunId
    name: str
    workload: str | None
    config: dict[str, JsonValue]
    start: Patch
    changes: list[Change]

    @classmethod
    def of(cls, run: RunInfo, log: Iterable[LogEntry]) -> Self:
        """The changes of a run, from its log as far as `run` knows it."""
        applied = [entry for entry in log if entry.kind == "applied" and entry.data["changes"]]
        changes = list(_backwards(applied, run.control))[::-1]
        start = _undone(changes[0].config, changes[0].changes) if changes else run.control
        return cls(run=run.id, name=run.name, workload=run.workload, config=run.config, start=start, changes=changes)

    def options(self, workload: str) -> dict[str, JsonValue]:
        """Options with which a workload is clipped as this run was; also this run's own, if it trained the same.

        Another workload learns at another rate, and may not have what else could be changed.
        """
        if workload == self.workload:
            return {**self.config, **self.start, "schedule": _schedule(self.changes)}
        from clipcore.rules import NAMES  # it imports torch, which few commands need to wait for

        changes = [change for change in self.changes if change.changes.keys() & NAMES]
        clipping = [change.model_copy(update={"config": _only(NAMES, change.config)}) for change in changes]
        return {**_only(NAMES, self.start), "schedule": _schedule(clipping)}


def _schedule(changes: Iterable[Change]) -> list[JsonValue]:
    return [{"step": change.step, "patch": change.config} for change in changes]


def _only(names: frozenset[str], config: Patch) -> Patch:
    return {name: value for name, value in config.items() if name in names}


def _backwards(applied: list[LogEntry], config: Patch) -> Iterator[Change]:
    """Changes from the newest to the oldest, the newest of which led to `config`."""
    for entry in reversed(applied):
        by: Literal["script", "request"] = "script" if entry.data["id"] is None else "request"
        change = Change.model_validate(
            {"step": entry.step, "time": entry.time, "by": by, "changes": entry.data["changes"], "config": config}
        )
        yield change
        config = _undone(config, change.changes)


def _undone(config: Patch, changes: Changes) -> Patch:
    before = {name: before for name, (before, _) in changes.items()}
    return {name: value for name, value in {**config, **before}.items() if value is not None}
