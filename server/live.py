"""What the server keeps in memory of a run, so that viewers are answered without asking the disk."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from server.protocol import DESCRIPTION, Layers, LogEntry, Outcome, Rows, RunInfo, State
from server.rows import after, joined, until

if TYPE_CHECKING:
    from server.trainer import Trainer

#: Rows that a viewer may lag behind before the store has to help: 80 s at 50 steps/s.
RING_ROWS = 4096
#: Rows of small batches that are kept as one: of a batch of its own, a row costs four times as much.
JOINED_ROWS = 256
#: Lines of the log kept for snapshots and for viewers that lag behind.
KEPT_LINES = 500

_NOT_DESCRIBED = {name: RunInfo.model_fields[name].default for name in DESCRIPTION}

OVER: frozenset[State] = frozenset(get_args(Outcome))


class Position(NamedTuple):
    """How far a run has come, or how much of it a viewer has been sent."""

    seq: int = 0  # last row
    line: int = 0  # last line of the log
    status: int = 0  # version of the run's information
    layers: int = 0  # version of the per-layer numbers
    runs: int = 0  # version of the list of runs


class LiveRun:
    """A run's newest rows and lines, and who feeds it.

    Everything here is committed already: the hub writes first and shows afterwards.

    Args:
        known: what the store knows of the run; its state as the trainer or the supervisor last said it.
        last_note: last of the trainer's notes.
        deleted: when the run was deleted, unix s; None while it is not.
        read_lines: gives the log's newest lines. This and the next are asked at the first use: of many runs that are
            kept, few are ever looked at.
        read_layers: gives the newest per-layer numbers.

    Attributes:
        trainer: the connection that feeds the run, if there is one.
        fed_since: when the process started that last fed it, by its own clock; None when none has since the server did.
        has_returned: whether its trainer came when the run was over already.
        is_full: whether it has been said that the run logs more metrics than there is room for.
        writing: held while something of this run is on its way to the disk, so that everything keeps its order.
    """

    def __init__(
        self,
        known: RunInfo,
        last_note: int = 0,
        deleted: float | None = None,
        read_lines: Callable[[], list[LogEntry]] = list,
        read_layers: Callable[[], Layers | None] = lambda: None,
    ) -> None:
        self.known = known
        self.last_note = last_note
        self.deleted = deleted
        self._read_lines = read_lines
        self._read_layers = read_layers
        self.trainer: Trainer | None = None
        self.fed_since: float | None = None
        self.has_returned = False
        self.is_full = False
        self.writing = asyncio.Lock()
        self._ring: deque[Rows] = deque()
        self._ring_rows = 0
        self._ring_start = known.seq
        self._brief: RunInfo | None = None
        self._brief_of = known
        self._headline: tuple[object, ...] = ()
        self._status_version = 0
        self._layers_version = 0

    @cached_property
    def lines(self) -> deque[LogEntry]:
        """The log's newest lines."""
        return deque(self._read_lines(), KEPT_LINES)

    @cached_property
    def layers(self) -> Layers | None:
        """The newest per-layer numbers."""
        return self._read_layers()

    @property
    def state(self) -> State:
        """As viewers see it: "disconnected" while the run is under way but nobody feeds it."""
        lost = self.known.state in ("running", "paused") and self.trainer is None
        return "disconnected" if lost else self.known.state

    @property
    def info(self) -> RunInfo:
        """The run as viewers see it."""
        return self._shown(waiting=self.trainer.waiting if self.trainer is not None else [])

    @property
    def brief(self) -> RunInfo:
        """The run as a line in a list: without what can be long or is gone in a moment.

        Made once for what is known: a list may have ten thousand runs, nearly all of which rest.
        """
        attached = self.trainer is not None
        if self._brief is None or self._brief_of is not self.known or self._brief.attached != attached:
            self._brief, self._brief_of = self._shown(**_NOT_DESCRIBED), self.known
        return self._brief

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.known.state in OVER

    @property
    def line(self) -> int:
        """Number of the log's last line."""
        return self.lines[-1].n if self.lines else 0

    def _shown(self, **fields: Any) -> RunInfo:
        attached = self.trainer is not None
        commands = self.known.commands and attached and not self.over
        shown = {"attached": attached, "state": self.state, "commands": commands, **fields}
        return self.known.model_copy(update=shown)

    def position(self, runs: int) -> Position:
        """How far the run has come, the list of runs being at version `runs`."""
        return Position(self.known.seq, self.line, self._status_version, self._layers_version, runs)

    def changed(self, **changes: Any) -> RunInfo:
        """What will be known with these changes, this moment being the last sign of life; nothing is kept yet."""
        return self.known.model_copy(update={"updated": time.time(), **changes})

    def update(self, known: RunInfo) -> bool:
        """Keep what is known of the run now; True if it reads differently in a list of runs."""
        headline, self.known = self._headline, known
        self._headline = (known.name, known.note, known.state, known.reason, self.trainer is not None)
        self._status_version += 1
        return self._headline != headline

    def refresh(self) -> None:
        """The run looks different to viewers, though no more is known of it."""
        self._status_version += 1

    def add_line(self, entry: LogEntry) -> None:
        """Keep a new line of the log."""
        self.lines.append(entry)

    def add_rows(self, rows: Rows) -> None:
        """Keep new rows; the oldest ones leave the ring."""
        self.known = self.changed(seq=rows.seq[-1], step=rows.step[-1])
        self._ring_rows += len(rows)
        if self._ring and len(self._ring[-1]) + len(rows) <= JOINED_ROWS:
            rows = joined([self._ring.pop(), rows])
        self._ring.append(rows)
        while self._ring_rows > RING_ROWS:
            oldest = self._ring.popleft()
            self._ring_rows -= len(oldest)
            self._ring_start = oldest.seq[-1]

    def forget_rows(self) -> None:
        """Keep none of the rows: from now on the store has to help."""
        self._ring.clear()
        self._ring_rows, self._ring_start = 0, self.known.seq

    def set_layers(self, layers: Layers) -> None:
        """Keep the newest per-layer numbers."""
        self.layers = layers
        self._layers_version += 1

    def rows_between(self, seq: int, last: int) -> Rows | None:
        """The rows beyond `seq` up to `last`; None when the ring does not reach back so far."""
        if seq < self._ring_start:
            return None
        return joined(
            [until(after(rows, seq), last) for rows in self._ring if rows.seq[-1] > seq and rows.seq[0] <= last]
        )

    def lines_between(self, line: int, last: int) -> list[LogEntry] | None:
        """The lines beyond `line` up to `last`; None when memory does not reach back so far."""
        found = [entry for entry in self.lines if line < entry.n <= last]
        return found if len(found) == last - line else None
