"""Who watches what, and how news reach a thousand viewers for the price of one.

The viewers of a run share a channel. It moves on at a bounded rate, encodes what is new once, and wakes them; a viewer
that keeps up sends those very texts. A viewer that lags is just an older position: its next read gets everything it
missed at once, from memory or thinned from the store. Nothing is queued for anybody.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from server import news
from server.live import LiveRun, Position
from server.metrics import CONFLATED
from server.news import Texts
from server.protocol import RunInfo
from server.single_flight import SingleFlight
from server.store import Store

if TYPE_CHECKING:
    from server.viewer import Viewer

#: Viewers are sent news at most this often: what arrives meanwhile shares a frame.
PUBLISH_INTERVAL_S = 0.05
#: Encoded messages kept for the next viewer that needs the same. Snapshots can be some MB.
SHARED_SNAPSHOTS, SHARED_NEWS = 4, 16


class FanOut:
    """All channels.

    Args:
        store: where the past is.
        runs: lists all runs in brief, newest first.
    """

    def __init__(self, store: Store, runs: Callable[[], list[RunInfo]]) -> None:
        self.store = store
        self.runs = runs
        self.runs_version = 0
        self.snapshots: SingleFlight[Texts] = SingleFlight(SHARED_SNAPSHOTS)
        self.news: SingleFlight[Texts] = SingleFlight(SHARED_NEWS)
        self._channels: dict[LiveRun | None, Channel] = {}
        self._listed: tuple[int, str] | None = None  # the version, and its text

    def listed(self) -> Texts:
        """The list of runs as a message, encoded once for all channels."""
        if self._listed is None or self._listed[0] != self.runs_version:
            self._listed = self.runs_version, news.list_text(self.runs())
        return (self._listed[1],)

    @property
    def viewers(self) -> int:
        """How many watch something."""
        return sum(len(channel.viewers) for channel in self._channels.values())

    def join(self, viewer: "Viewer", run: LiveRun | None) -> "Channel":
        """Let a viewer watch a run, or wait for a first one, and nothing else any more."""
        self.leave(viewer)
        channel = self._channels.setdefault(run, Channel(self, run))
        channel.viewers.add(viewer)
        channel.publish()  # a snapshot has all that is committed
        return channel

    def leave(self, viewer: "Viewer") -> None:
        """Let a viewer watch nothing any more."""
        for run, channel in list(self._channels.items()):
            channel.viewers.discard(viewer)
            if not channel.viewers:
                del self._channels[run]

    def changed(self, run: LiveRun) -> None:
        """There is news of a run."""
        if channel := self._channels.get(run):
            channel.publish_soon()

    def list_changed(self) -> None:
        """There is news of the list of runs."""
        self.runs_version += 1
        for channel in self._channels.values():
            channel.publish_soon()


class Channel:
    """The viewers of one run (None: of no run yet), who are all shown it up to the same position.

    Attributes:
        viewers: who is woken when there is news.
        position: how far the run is shown.
    """

    def __init__(self, fan_out: FanOut, run: LiveRun | None) -> None:
        self._fan_out = fan_out
        self._run = run
        self.viewers: set[Viewer] = set()
        self.position = self._reached()
        self._newest: tuple[Position, Texts] | None = None  # what brings a viewer from that position to the present one
        self._published_at = float("-inf")
        self._due = False

    @property
    def run_id(self) -> str | None:
        """The run's id."""
        return self._run.known.id if self._run is not None else None

    async def snapshot(self, since: int | None, *, read_only: bool) -> tuple[Position, Texts]:
        """What a new viewer needs, and where it is then; `since` is the last row that it has already."""
        to, all_ = self.position, self._fan_out
        texts = await all_.snapshots.get(
            (self._run, since, to, read_only),
            lambda: news.snapshot(all_.store, self._run, all_.runs(), since, to, read_only=read_only),
        )
        return to, texts

    async def news(self, seen: Position) -> tuple[Position, Texts]:
        """What a viewer at position `seen` needs, and where it is then."""
        to = self.position
        if seen == to:
            return to, ()
        if self._newest is not None and self._newest[0] == seen:
            return to, self._newest[1]
        CONFLATED.inc()
        return to, await self._fan_out.news.get((self._run, seen, to), lambda: self._missed(seen, to))

    def publish_soon(self) -> None:
        """Publish at once when the last time is a while ago, else when that while is over."""
        if not self._due:
            self._due = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._published_at + PUBLISH_INTERVAL_S), self.publish)

    def publish(self) -> None:
        """Show the viewers all that is there now."""
        self._due = False
        seen, to = self.position, self._reached()
        if seen == to:
            return
        texts = self._recent(seen, to)
        self._newest = None if texts is None else (seen, texts)
        self.position, self._published_at = to, asyncio.get_running_loop().time()
        for viewer in self.viewers:
            viewer.wake()

    def _reached(self) -> Position:
        runs = self._fan_out.runs_version
        return self._run.position(runs) if self._run is not None else Position(runs=runs)

    def _recent(self, seen: Position, to: Position) -> Texts | None:
        return news.recent(self._run, self._list(seen, to), seen, to)

    def _list(self, seen: Position, to: Position) -> Texts:
        return self._fan_out.listed() if to.runs > seen.runs else ()

    async def _missed(self, seen: Position, to: Position) -> Texts:
        texts = self._recent(seen, to)
        if texts is None and self._run is not None:
            texts = await news.older(self._fan_out.store, self._run, self._list(seen, to), seen, to)
        return texts or ()
