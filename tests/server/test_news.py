"""What pages are sent, however they read, fall behind and come back: no row twice, none left out unsaid."""

import asyncio
import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from server import live, news
from server.fanout import FanOut
from server.live import LiveRun
from server.protocol import LogEntry, RunInfo
from server.rows import make_rows

PAGES = 3


class Page:
    """A viewer without a socket, which keeps what it is sent as a browser does, and checks it."""

    def __init__(self):
        self.channel = None
        self.seen = None
        self.seq = 0
        self.line = 0

    def wake(self):
        pass

    def take(self, seen, texts):
        for message in map(json.loads, texts):
            match message["type"]:
                case "snapshot":
                    self._replace(message)
                case "steps":
                    self._append(message["rows"]["seq"], message["exact"])
                case "event":
                    assert message["entry"]["n"] == self.line + 1
                    self.line += 1
        self.seen = seen
        assert (self.seq, self.line) == (seen.seq, seen.line)

    def _replace(self, snapshot):
        assert snapshot["resumed"] == (self.seen is not None)
        self._append(snapshot["rows"]["seq"], snapshot["exact"])
        lines = [line["n"] for line in snapshot["log"]]
        assert lines == list(range(1, len(lines) + 1))
        self.line = len(lines)

    def _append(self, seqs, exact):
        """Rows go on from the last one; where some are left out, their ends are there and the page is told."""
        if not seqs:
            return
        whole = list(range(self.seq + 1, seqs[-1] + 1))
        assert seqs == whole if exact else (seqs[0] == whole[0] and set(seqs) < set(whole) and seqs == sorted(seqs))
        self.seq = seqs[-1]


class Watching(RuleBasedStateMachine):
    """Pages that read, leave and return in any order while a run grows."""

    def __init__(self, store):
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._store = store
        known = RunInfo(id=f"run{len(store.runs())}", name="", state="running", created=1.0, updated=1.0)
        store.save(known).result(5)
        self._run = LiveRun(known)
        self._fan_out = FanOut(store, list)
        self._pages = [Page() for _ in range(PAGES)]

    def teardown(self):
        for page in self._pages:
            self._fan_out.leave(page)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @rule(rows=st.integers(1, 12), lines=st.integers(0, 2))
    def grow(self, rows, lines):
        self._loop.run_until_complete(self._grow(rows, lines))

    @rule(page=st.integers(0, PAGES - 1), meanwhile=st.integers(0, 12))
    def read(self, page, meanwhile):
        if (page := self._pages[page]).seen is not None:
            self._during(meanwhile, page, lambda: page.channel.news(page.seen))

    @rule(page=st.integers(0, PAGES - 1), meanwhile=st.integers(0, 12))
    def connect(self, page, meanwhile):
        """Come for the first time, or come back with the last row that one has."""
        page = self._pages[page]
        since = None if page.seen is None else page.seq

        def snapshot():
            page.channel = self._fan_out.join(page, self._run)
            return page.channel.snapshot(since, read_only=False)

        self._during(meanwhile, page, snapshot)

    def _during(self, rows, page, ask):
        """Let the run grow between a page's question and its answer."""

        async def answered():
            asked = asyncio.ensure_future(ask())
            await asyncio.sleep(0)
            if rows:
                await self._grow(rows, 1)
            return await asked

        page.take(*self._loop.run_until_complete(answered()))

    async def _grow(self, count, lines):
        first = self._run.known.seq + 1
        seqs = list(range(first, first + count))
        rows = make_rows({"seq": seqs, "step": seqs, "time": seqs, "mode": ["norm"] * count, "norm": seqs})
        self._store.append(self._run.known.id, rows).result(5)
        self._run.add_rows(rows)
        for _ in range(lines):
            entry = LogEntry(n=self._run.line + 1, step=first, time=1.0, kind="note")
            self._store.add_line(self._run.known, entry).result(5)
            self._run.add_line(entry)
        for channel in {page.channel for page in self._pages} - {None}:
            channel.publish()


def test_no_page_gets_a_row_twice_or_misses_one_unsaid(store, monkeypatch):
    """Reading seldom, leaving, returning with the last row that it has, while rows arrive: each page's rows go on.

    Memory holds few rows here, so that pages fall behind it often and the store has to help.
    """
    monkeypatch.setattr(live, "RING_ROWS", 20)
    monkeypatch.setattr(news, "POINTS", 8)
    run_state_machine_as_test(
        lambda: Watching(store),
        settings=settings(max_examples=25, stateful_step_count=25, derandomize=True, deadline=None),
    )
