"""A killed server keeps its word: what it acknowledged is there, each row once."""

import random
import signal
import threading
from contextlib import closing, suppress

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.server.site import TrainerWire, steps, until

KILLS = 2


class Trainer(threading.Thread):
    """Streams rows as fast as it can, again and again from what is acknowledged; notes the last ack it saw."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.acked = 0
        self.stopping = False
        self.broken_promises = []

    def run(self):
        while not self.stopping:
            with suppress(ConnectionClosed, InvalidHandshake, OSError), closing(TrainerWire(self.url)) as wire:
                self._stream(wire)

    def _stream(self, wire):
        welcome = wire.start()
        if welcome["acked"] < self.acked:
            self.broken_promises.append((welcome["acked"], self.acked))
        self.acked = welcome["acked"]
        sent = self.acked
        while not self.stopping:
            for _ in range(4):  # in flight, so that a kill finds some written, some queued and some unread
                wire.send(steps(sent + 1, sent + 25))
                sent += 25
            while self.acked < sent:
                self.acked = wire.wait("ack")["seq"]


def test_no_acknowledged_row_is_lost_or_doubled(spawn):
    """SIGKILL at random moments while a trainer streams: afterwards every acknowledged row is there, exactly once."""
    server = spawn()
    trainer = Trainer(server.url)
    trainer.start()
    chance = random.Random(0)
    for _ in range(KILLS):
        seen = trainer.acked
        until(lambda seen=seen: trainer.acked > seen + chance.randint(100, 500), timeout_s=30)
        server.end(signal.SIGKILL)
        server = spawn()
        assert server.url == trainer.url
    seen = trainer.acked
    until(lambda: trainer.acked > seen, timeout_s=30)
    trainer.stopping = True
    trainer.join()
    query = {"metrics": "norm", "points": 100_000}
    columns = httpx.get(f"{server.url}/api/runs/r1/series", params=query, trust_env=False).json()["columns"]
    assert trainer.broken_promises == []
    assert len(columns["seq"]) >= trainer.acked
    assert columns["seq"] == list(range(1, len(columns["seq"]) + 1))
    assert columns["norm"] == columns["seq"]
