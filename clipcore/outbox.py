"""What a trainer still owes the server: numbered, bounded, kept until acknowledged.

No sockets and no threads of its own, so its tests need neither. Rows get a `seq`, the other lasting messages (notes) an
`n`; both count from 1, or on from an earlier process of the run, and are never reused, so that the server can tell a
repetition from news after a reconnect.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import Any

from clipcore.recorder import Record
from clipcore.spool import Slice, Spool
from clipcore.wire import encode

#: Rows in one frame at most: the server's own limit is 4,096.
FRAME_ROWS = 1024
#: Rows kept in memory while the server is away; older ones go to disk. 20,000 encoded rows are about 6 MB.
MEMORY_ROWS = 20_000
#: Notes kept while the server is away.
KEPT_NOTES = 10_000


@dataclass(frozen=True, slots=True)
class _Frame:
    first: int  # seq of its first row
    last: int  # seq of its last row
    text: str | Slice  # its columns, in memory or in the spool

    def __len__(self) -> int:
        return self.last - self.first + 1


class Outbox:
    """Rows and notes that are not acknowledged yet, in order: in memory, the oldest rows beyond that in a spool.

    Args:
        memory_rows: rows in memory at most.
        spool: takes the others.
    """

    def __init__(self, memory_rows: int = MEMORY_ROWS, spool: Spool | None = None) -> None:
        self._memory_rows = memory_rows
        self._spool = spool or Spool()
        self._lock = threading.Lock()
        self._open: list[Record] = []  # numbered but not encoded yet
        self._spooled: deque[_Frame] = deque()  # all of them older than those in memory
        self._frames: deque[_Frame] = deque()
        self._notes: deque[tuple[int, str]] = deque(maxlen=KEPT_NOTES)
        self._before: tuple[int, int] | None = None  # rows and notes of earlier processes of this run, once known
        self._seq = 0
        self._n = 0
        self._sent_seq = 0
        self._sent_n = 0
        self._most_sent = 0
        self._lost_rows = 0
        self._foreign_rows = 0
        self._unsure: deque[range] = deque()  # rows that were sent and gave way, which the server may have or not

    def add_rows(self, records: Iterable[Record]) -> None:
        """Number the rows; unacknowledged ones give way when there is no room on disk either (see `take_lost_rows`)."""
        with self._lock:
            for record in records:
                self._open.append(record)
                self._seq += 1
                if len(self._open) == FRAME_ROWS:
                    self._close_frame()
            self._make_room()

    def add_note(self, type_: str, **fields: Any) -> None:
        """Number a lasting message: applied, rejected, event or finish."""
        with self._lock:
            self._n += 1
            self._notes.append((self._n, encode({"type": type_, **fields})))

    def unsent(self) -> Iterator[str]:
        """The frames to send next, each once, until `rewind`: first rows, then the notes that speak of them."""
        with self._lock:
            self._close_frame()
            frames = [frame for frame in chain(self._spooled, self._frames) if frame.last > self._sent_seq]
            notes = [(n, text) for n, text in self._notes if n > self._sent_n]
        rows_before, notes_before = self._before or (0, 0)
        for frame in frames:
            self._sent_seq = frame.last  # now: whoever takes only some does not come back after the last
            self._most_sent = max(self._most_sent, frame.last)
            yield f'{{"type":"steps","seq":{rows_before + frame.first},"columns":{self._text(frame)}}}'
        for n, text in notes:
            self._sent_n = n
            yield f'{{"n":{notes_before + n},{text[1:]}'

    def rewind(self) -> None:
        """After a reconnect: what is not acknowledged counts as unsent again."""
        self._sent_seq = self._sent_n = 0

    def welcome(self, seq: int, n: int) -> None:
        """Go on from what the server has: at first, that is what an earlier process of this run has left there."""
        if self._before is None:
            self._before = seq, n
        self.acknowledge(seq, n)
        with self._lock:
            self._lost_rows += sum(map(len, self._unsure))
            self._unsure.clear()

    def acknowledge(self, seq: int, n: int) -> None:
        """Forget rows up to `seq` and notes up to `n`: the server has committed them."""
        rows_before, notes_before = self._before or (0, 0)
        seq, n = seq - rows_before, n - notes_before
        with self._lock:
            self._foreign_rows = max(self._foreign_rows, seq - self._most_sent)
            for frames in (self._spooled, self._frames):
                while frames and frames[0].last <= seq:
                    frames.popleft()
            while self._unsure and self._unsure[0][-1] <= seq:
                self._unsure.popleft()
            if not self._spooled:
                self._spool.clear()
            while self._notes and self._notes[0][0] <= n:
                self._notes.popleft()

    def discard(self) -> None:
        """Forget everything: nobody takes it any more."""
        with self._lock:
            for kept in (self._open, self._spooled, self._frames, self._unsure, self._notes):
                kept.clear()
            self._spool.clear()

    def take_lost_rows(self) -> int:
        """How many rows gave way since the last call."""
        with self._lock:
            lost, self._lost_rows = self._lost_rows, 0
            return lost

    def take_foreign_rows(self) -> int:
        """How many rows the server has beyond all that were sent from here, at most since the last call.

        Another process has fed the run meanwhile, under the same numbers: as many of this one's are passed over.
        """
        with self._lock:
            foreign, self._foreign_rows = self._foreign_rows, 0
            return foreign

    @property
    def in_flight(self) -> int:
        """Frames that are sent and not acknowledged yet."""
        with self._lock:
            frames = takewhile(lambda frame: frame.last <= self._sent_seq, chain(self._spooled, self._frames))
            notes = takewhile(lambda note: note[0] <= self._sent_n, self._notes)
            return sum(1 for _ in chain(frames, notes))

    @property
    def pending_rows(self) -> int:
        """Rows not acknowledged yet (a partly acknowledged frame counts whole)."""
        with self._lock:
            return sum(map(len, chain(self._spooled, self._frames))) + len(self._open)

    @property
    def empty(self) -> bool:
        """Everything is acknowledged."""
        with self._lock:
            return not (self._open or self._spooled or self._frames or self._notes)

    def _text(self, frame: _Frame) -> str:
        if isinstance(frame.text, str):
            return frame.text
        with self._lock:
            return self._spool.get(frame.text)

    def _make_room(self) -> None:
        """Move the oldest rows in memory to the spool, until the others are few enough."""
        surplus = sum(map(len, self._frames)) + len(self._open) - self._memory_rows
        while self._frames and surplus > 0:
            frame = self._frames.popleft()
            surplus -= len(frame)
            if (place := self._spool.put(str(frame.text))) is not None:
                self._spooled.append(replace(frame, text=place))
            elif frame.last > self._sent_seq:
                self._lost_rows += len(frame)
            else:
                self._unsure.append(range(frame.first, frame.last + 1))

    def _close_frame(self) -> None:
        if not self._open:
            return
        first = self._seq - len(self._open) + 1
        self._frames.append(_Frame(first, self._seq, encode(_columns(self._open))))
        self._open = []


def _columns(records: list[Record]) -> dict[str, list[Any]]:
    """One list a column; None where a row lacks a metric that another row of the batch has."""
    rows = [record.values for record in records]
    names = dict.fromkeys(chain.from_iterable(rows))
    return {
        "step": [record.step for record in records],
        "time": [record.time for record in records],
        "mode": [record.mode for record in records],
        **{name: [row.get(name) for row in rows] for name in names},
    }
