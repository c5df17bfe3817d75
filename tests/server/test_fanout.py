import asyncio
import json

import pytest

from server import fanout, news
from server.fanout import FanOut
from server.live import RING_ROWS, LiveRun
from server.protocol import LogEntry, RunInfo
from server.rows import make_rows


class Watcher:
    """A viewer, as far as a channel is concerned."""

    def __init__(self):
        self.woken = 0

    def wake(self):
        self.woken += 1


def rows(first, last):
    seqs = list(range(first, last + 1))
    return make_rows({"seq": seqs, "step": seqs, "time": seqs, "mode": ["norm"] * len(seqs), "norm": seqs})


@pytest.fixture
def run():
    return LiveRun(RunInfo(id="r1", name="r1", state="running", created=1.0, updated=1.0))


@pytest.fixture
def fan_out(store, run):
    store.save(run.known).result(5)
    return FanOut(store, lambda: [run.brief])


def extend(store, run, first, last):
    """Commit rows, as the hub does it."""
    store.append(run.known.id, rows(first, last)).result(5)
    run.add_rows(rows(first, last))


def seqs(texts):
    messages = [json.loads(text) for text in texts]
    return [seq for message in messages if message["type"] == "steps" for seq in message["rows"]["seq"]]


def test_news_are_encoded_once_for_all(store, run, fan_out, monkeypatch):
    """A thousand viewers that keep up are given the same texts, made once."""
    made = []
    recent = news.recent
    monkeypatch.setattr(news, "recent", lambda *arguments: made.append(1) or recent(*arguments))

    async def watch():
        viewers = [Watcher() for _ in range(1000)]
        (channel,) = {fan_out.join(viewer, run) for viewer in viewers}
        seen, _ = await channel.snapshot(None, read_only=False)
        extend(store, run, 1, 5)
        channel.publish()
        answers = [await channel.news(seen) for _ in viewers]
        assert {viewer.woken for viewer in viewers} == {1}
        assert len({id(texts) for _, texts in answers}) == 1
        assert seqs(answers[0][1]) == [1, 2, 3, 4, 5]

    asyncio.run(watch())
    assert len(made) == 1


def test_the_list_of_runs_is_encoded_once_for_all_channels(run, fan_out, monkeypatch):
    """Whoever watches which run: ten thousand runs take a while to encode. The next change is encoded anew."""
    made = []
    list_text = news.list_text
    monkeypatch.setattr(news, "list_text", lambda runs: made.append(1) or list_text(runs))

    async def watch():
        channels = [fan_out.join(Watcher(), watched) for watched in (run, None)]
        for changes in (1, 2):
            seen = [channel.position for channel in channels]
            fan_out.list_changed()
            for channel in channels:
                channel.publish()
            texts = [(await channel.news(before))[1] for channel, before in zip(channels, seen, strict=True)]
            assert texts[0] == texts[1]
            assert len(made) == changes

    asyncio.run(watch())


def test_what_comes_together_is_published_together(store, run, fan_out):
    """News within the interval share a frame; the first after a pause go out at once; none wake nobody."""

    async def watch():
        channel = fan_out.join(viewer := Watcher(), run)
        extend(store, run, 1, 2)
        fan_out.changed(run)
        await asyncio.sleep(0.01)
        assert viewer.woken == 1
        for seq in (3, 4, 5):
            extend(store, run, seq, seq)
            fan_out.changed(run)
        assert viewer.woken == 1
        await asyncio.sleep(2 * fanout.PUBLISH_INTERVAL_S)
        assert (viewer.woken, channel.position.seq) == (2, 5)
        fan_out.changed(run)
        await asyncio.sleep(2 * fanout.PUBLISH_INTERVAL_S)
        assert viewer.woken == 2

    asyncio.run(watch())


def test_a_viewer_that_lags_gets_all_it_missed_at_once(store, run, fan_out):
    """From any position the news lead to the present one: whole from memory, thinned from the store."""

    async def watch():
        channel = fan_out.join(Watcher(), run)
        start, _ = await channel.snapshot(None, read_only=False)
        extend(store, run, 1, 10)
        channel.publish()
        middle, _ = await channel.news(start)
        extend(store, run, 11, 20)
        channel.publish()
        assert seqs((await channel.news(start))[1]) == list(range(1, 21))
        for first in range(21, 21 + 2 * RING_ROWS, RING_ROWS):
            extend(store, run, first, first + RING_ROWS - 1)
        run.add_line(LogEntry(n=1, step=1, time=1.0, kind="note"))
        store.add_line(run.known, run.lines[0]).result(5)
        channel.publish()
        end, texts = await channel.news(middle)
        found = seqs(texts)
        assert end.seq == found[-1] == 20 + 2 * RING_ROWS
        assert found[0] == 11
        assert len(found) < 1100
        assert json.loads(texts[0])["exact"] is False
        assert [json.loads(text)["type"] for text in texts] == ["steps", "event"]
        assert await channel.news(end) == (end, ())

    asyncio.run(watch())


def test_a_viewer_watches_one_run(store, run, fan_out):
    """Who joins another channel, or leaves, is not woken by the first one any more."""

    async def watch():
        viewer, other = Watcher(), LiveRun(run.known.model_copy(update={"id": "r2"}))
        channel = fan_out.join(viewer, run)
        fan_out.join(viewer, other)
        extend(store, run, 1, 1)
        channel.publish()
        assert viewer.woken == 0
        fan_out.leave(viewer)
        fan_out.list_changed()
        await asyncio.sleep(2 * fanout.PUBLISH_INTERVAL_S)
        assert viewer.woken == 0

    asyncio.run(watch())
